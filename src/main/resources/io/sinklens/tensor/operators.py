class Operators(Module):
  __parameters__ = []
  __buffers__ = []

  # TorchScript, read as text by Operators.java: one method an operator, torch.NAME an aten operator.
  # dtypes are torch's numbers: 4 int64, 5 float16, 6 float32, 7 float64, 15 bfloat16.
  # Letters of shapes: R rows, H heads, K key-value heads, G = H / K, S queries, P keys of the shared
  # prefix, T keys of the rows' own, D head size.

  # --- Storage

  # The file as elements of one dtype, mapped privately: pages are read when first used, and a write
  # never reaches the file.
  def map_file(self: __torch__.Operators, path: str, elements: int, dtype: int) -> Tensor:
    return torch.from_file(path, False, elements, dtype=dtype, layout=None, device=None, pin_memory=None)

  # A tensor inside a mapped file, without a copy.
  def view_range(self: __torch__.Operators, file: Tensor, begin: int, end: int, shape: List[int]) -> Tensor:
    return torch.reshape(torch.slice(file, 0, begin, end, 1), shape)

  def to(self: __torch__.Operators, x: Tensor, dtype: int) -> Tensor:
    return torch.to(x, dtype, False, False, None)

  def zeros(self: __torch__.Operators, shape: List[int], dtype: int) -> Tensor:
    return torch.zeros(shape, dtype=dtype, layout=None, device=None, pin_memory=None)

  # --- Layers

  def linear(self: __torch__.Operators, x: Tensor, weight: Tensor) -> Tensor:
    return torch.linear(x, weight)

  def linear_bias(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.linear(x, weight, bias)

  def embedding(self: __torch__.Operators, ids: Tensor, weight: Tensor) -> Tensor:
    return torch.embedding(weight, ids, -1, False, False)

  def patches(self: __torch__.Operators, pixels: Tensor, weight: Tensor, stride: int) -> Tensor:
    return torch.transpose(torch.flatten(torch.conv2d(pixels, weight, None, [stride, stride], [0, 0], [1, 1], 1), 2, -1), 1, 2)

  def patches_bias(self: __torch__.Operators, pixels: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return torch.transpose(torch.flatten(torch.conv2d(pixels, weight, bias, [stride, stride], [0, 0], [1, 1], 1), 2, -1), 1, 2)

  # Patches token by token: pixels [1, C, height, width], M x M patches a token, each patch_size high
  # and wide and repeated for every frame: [1, patches, C * frames * patch_size * patch_size].
  def merged_patches(self: __torch__.Operators, pixels: Tensor, patch_size: int, merge_size: int, frames: int) -> Tensor:
    _, C, height, width = torch.size(pixels)
    side = torch.mul(patch_size, merge_size)
    blocks = torch.reshape(pixels, [C, torch.floordiv(height, side), merge_size, patch_size, torch.floordiv(width, side), merge_size, patch_size])
    ordered = torch.unsqueeze(torch.permute(blocks, [1, 4, 2, 5, 0, 3, 6]), 5)
    repeated = torch.expand(ordered, [-1, -1, -1, -1, -1, frames, -1, -1])
    return torch.reshape(repeated, [1, -1, torch.mul(torch.mul(C, frames), torch.mul(patch_size, patch_size))])

  # Rows of x in the order of an index.
  def take_rows(self: __torch__.Operators, x: Tensor, rows: Tensor) -> Tensor:
    return torch.index_select(x, 0, rows)

  # One token before all others: x [R, S, hidden], token [hidden] to [R, 1 + S, hidden].
  def prepend_token(self: __torch__.Operators, x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([torch.expand(token, [torch.size(x, 0), 1, -1]), x], 1)

  # One row and one column of zeros more: [R, rows, columns, hidden].
  def pad_map(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.constant_pad_nd(x, [0, 0, 0, 1, 0, 1], 0)

  # Text before an image: [S, hidden] and [T, hidden] to [1, S + T, hidden].
  def concat_tokens(self: __torch__.Operators, x: Tensor, y: Tensor) -> Tensor:
    return torch.unsqueeze(torch.cat([x, y], 0), 0)

  # A map of features laid over a smaller grid, half-pixel centres: [rows, columns, hidden].
  def resize_map(self: __torch__.Operators, x: Tensor, rows: int, columns: int) -> Tensor:
    planes = torch.unsqueeze(torch.permute(x, [2, 0, 1]), 0)
    resized = torch.upsample_bilinear2d(torch.contiguous(planes), [rows, columns], False, None, None)
    return torch.permute(torch.squeeze(resized, 0), [1, 2, 0])

  # One token after each row: x [rows, columns, hidden], token [hidden] to [rows, columns + 1, hidden].
  def end_rows(self: __torch__.Operators, x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([x, torch.expand(token, [torch.size(x, 0), 1, -1])], 1)

  # One hidden state a row: x [R, S, hidden], tokens [R] to [R, hidden].
  def pick_tokens(self: __torch__.Operators, x: Tensor, tokens: Tensor) -> Tensor:
    rows = torch.arange(0, torch.size(x, 0), 1, dtype=4, layout=None, device=None, pin_memory=None)
    return torch.index(x, annotate(List[Optional[Tensor]], [rows, tokens]))

  # The attention of one query a row: x [R, H, S, T], queries [R] to [R, H, T].
  def pick_queries(self: __torch__.Operators, x: Tensor, queries: Tensor) -> Tensor:
    rows = torch.arange(0, torch.size(x, 0), 1, dtype=4, layout=None, device=None, pin_memory=None)
    return torch.index(x, annotate(List[Optional[Tensor]], [rows, None, queries]))

  # The mean square and the scaling are float32; the product with the weight is the model's dtype.
  def rms_norm(self: __torch__.Operators, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    h = torch.to(x, 6, False, False, None)
    scale = torch.rsqrt(torch.add(torch.mean(torch.pow(h, 2), [-1], True), eps))
    return torch.mul(weight, torch.to(torch.mul(h, scale), ops.prim.dtype(x), False, False, None))

  def layer_norm(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return torch.layer_norm(x, torch.size(weight), weight, bias, eps, False)

  def gelu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.gelu(x, approximate="none")

  def gelu_tanh(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.gelu(x, approximate="tanh")

  def quick_gelu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.mul(x, torch.sigmoid(torch.mul(x, 1.702)))

  def silu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.silu(x)

  # --- Rotary position embedding

  # Angles of positions [...] for half the head size, doubled: [..., D], float32.
  def rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, head_size: int) -> Tensor:
    exponents = torch.div(torch.arange(0, head_size, 2, dtype=6, layout=None, device=None, pin_memory=None), head_size)
    frequencies = torch.reciprocal(torch.pow(theta, exponents))
    angles = torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies)
    return torch.cat([angles, angles], -1)

  # Angles where each token has three positions [3, S]: the first frequencies turn by the first, the
  # next by the second, the last by the third, as many as sections says; doubled, [1, S, D], float32.
  def sectioned_rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, sections: List[int]) -> Tensor:
    D = torch.mul(torch.add(torch.add(sections[0], sections[1]), sections[2]), 2)
    exponents = torch.div(torch.arange(0, D, 2, dtype=6, layout=None, device=None, pin_memory=None), D)
    frequencies = torch.reciprocal(torch.pow(theta, exponents))
    angles = torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies)
    parts = torch.split_with_sizes(angles, sections, -1)
    chosen = torch.cat([torch.select(parts[0], 0, 0), torch.select(parts[1], 0, 1), torch.select(parts[2], 0, 2)], -1)
    return torch.unsqueeze(torch.cat([chosen, chosen], -1), 0)

  # Angles of positions [S, 2], row and column: each turns a quarter of the head size, doubled:
  # [1, S, D], float32.
  def plane_rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, head_size: int) -> Tensor:
    half = torch.floordiv(head_size, 2)
    exponents = torch.div(torch.arange(0, half, 2, dtype=6, layout=None, device=None, pin_memory=None), half)
    frequencies = torch.reciprocal(torch.pow(theta, exponents))
    angles = torch.flatten(torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies), 1, -1)
    return torch.unsqueeze(torch.cat([angles, angles], -1), 0)

  # x [R, H, S, D] with the halves of D turned by cos and sin [R or 1, S, D].
  def rope(self: __torch__.Operators, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    halves = torch.chunk(x, 2, -1)
    turned = torch.cat([torch.neg(halves[1]), halves[0]], -1)
    return torch.add(torch.mul(x, torch.unsqueeze(cos, 1)), torch.mul(turned, torch.unsqueeze(sin, 1)))

  # --- Attention over a shared prefix and the rows' own keys. A prefix of no keys is a plain pass.

  # Every key visible to every query: q, k, v [R, H, S, D].
  def attention(self: __torch__.Operators, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return torch.scaled_dot_product_attention(q, k, v, None, 0., False, scale=scale)

  # Query s sees keys 0 to s: q [R, H, S, D], k and v [R, K, S, D].
  def causal_attention(self: __torch__.Operators, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    return torch.scaled_dot_product_attention(q, k, v, None, 0., True, scale=scale, enable_gqa=True)

  # Weights never written out: the two parts are attended apart and merged by their log-sum-exps.
  # q [R, H, S, D], prefix_k and prefix_v [K, P, D], own_k and own_v [R, K, T, D], mask [R, 1, S, T]
  # added to own scores. Reads the prefix once for all rows.
  def shared_attention(self: __torch__.Operators, q: Tensor, prefix_k: Tensor, prefix_v: Tensor, own_k: Tensor, own_v: Tensor, mask: Tensor, scale: float) -> Tensor:
    R, H, S, D = torch.size(q)
    K = torch.size(prefix_k, 0)
    G = torch.floordiv(H, K)
    own_out, own_lse = torch._scaled_dot_product_flash_attention_for_cpu(q, torch.repeat_interleave(own_k, G, 1), torch.repeat_interleave(own_v, G, 1), 0., False, attn_mask=mask, scale=scale)
    if torch.size(prefix_k, 1) == 0: # The kernel would end the process.
      out = own_out
    else:
      folded = torch.reshape(torch.transpose(torch.reshape(q, [R, K, G * S, D]), 0, 1), [1, K, R * G * S, D])
      prefix_out, prefix_lse = torch._scaled_dot_product_flash_attention_for_cpu(folded, torch.unsqueeze(prefix_k, 0), torch.unsqueeze(prefix_v, 0), 0., False, attn_mask=None, scale=scale)
      prefix_out = torch.reshape(torch.transpose(torch.reshape(prefix_out, [K, R, G * S, D]), 0, 1), [R, H, S, D])
      prefix_lse = torch.reshape(torch.transpose(torch.reshape(prefix_lse, [K, R, G * S]), 0, 1), [R, H, S, 1])
      own_share = torch.sigmoid(torch.sub(torch.unsqueeze(own_lse, -1), prefix_lse))
      merged = torch.lerp(torch.to(prefix_out, 6, False, False, None), torch.to(own_out, 6, False, False, None), own_share)
      out = torch.to(merged, ops.prim.dtype(q), False, False, None)
    return out

  # Scaled and masked scores of both parts side by side, in the model's dtype: [R, H, S, P + T].
  def attention_scores(self: __torch__.Operators, q: Tensor, prefix_k: Tensor, own_k: Tensor, mask: Tensor, scale: float) -> Tensor:
    R, H, S, D = torch.size(q)
    K = torch.size(prefix_k, 0)
    G = torch.floordiv(H, K)
    P = torch.size(prefix_k, 1)
    T = torch.size(own_k, 2)
    folded = torch.reshape(torch.transpose(torch.reshape(q, [R, K, G * S, D]), 0, 1), [K, R * G * S, D])
    prefix = torch.matmul(folded, torch.transpose(prefix_k, 1, 2))
    prefix = torch.reshape(torch.transpose(torch.reshape(prefix, [K, R, G * S, P]), 0, 1), [R, H, S, P])
    own = torch.reshape(torch.matmul(torch.reshape(q, [R, K, G * S, D]), torch.transpose(own_k, 2, 3)), [R, H, S, T])
    return torch.cat([torch.mul(prefix, scale), torch.add(torch.mul(own, scale), mask)], -1)

  # Both parts side by side: [R, H, S, P] and [R, H, S, T] to [R, H, S, P + T].
  def concat_keys(self: __torch__.Operators, prefix: Tensor, own: Tensor) -> Tensor:
    return torch.cat([prefix, own], -1)

  # float32 weights of scores of any dtype.
  def softmax(self: __torch__.Operators, scores: Tensor) -> Tensor:
    return torch.softmax(scores, -1, dtype=6)

  # Values under weights [R, H, S, P] and [R, H, S, T], in the values' dtype: [R, H, S, D].
  def attend(self: __torch__.Operators, prefix_weights: Tensor, own_weights: Tensor, prefix_v: Tensor, own_v: Tensor) -> Tensor:
    R, H, S, P = torch.size(prefix_weights)
    T = torch.size(own_weights, 3)
    K, _, D = torch.size(prefix_v)
    G = torch.floordiv(H, K)
    dtype = ops.prim.dtype(own_v)
    own = torch.matmul(torch.reshape(torch.to(own_weights, dtype, False, False, None), [R, K, G * S, T]), own_v)
    if P == 0:
      out = own
    else:
      folded = torch.reshape(torch.transpose(torch.reshape(torch.to(prefix_weights, dtype, False, False, None), [R, K, G * S, P]), 0, 1), [K, R * G * S, P])
      out = torch.add(own, torch.transpose(torch.reshape(torch.matmul(folded, prefix_v), [K, R, G * S, D]), 0, 1))
    return torch.reshape(out, [R, H, S, D])

  # --- Key-value cache

  # Writes value [R, K, S, D] into cache [R, K, capacity, D] in place; row r's token s goes to
  # positions[r, s].
  def cache_append(self: __torch__.Operators, cache: Tensor, value: Tensor, positions: Tensor) -> Tensor:
    rows = torch.unsqueeze(torch.arange(0, torch.size(cache, 0), 1, dtype=4, layout=None, device=None, pin_memory=None), 1)
    indices = annotate(List[Optional[Tensor]], [rows, None, positions])
    return torch.index_put_(cache, indices, torch.transpose(value, 1, 2), False)

  # 0 where a query may see an own key, minus infinity where not: query positions [R, S], keys 0 to
  # T - 1; [R, 1, S, T] in the model's dtype.
  def causal_mask(self: __torch__.Operators, positions: Tensor, keys: int, dtype: int) -> Tensor:
    columns = torch.arange(0, keys, 1, dtype=4, layout=None, device=None, pin_memory=None)
    hidden = torch.gt(columns, torch.unsqueeze(positions, -1))
    zeros = torch.zeros(torch.size(hidden), dtype=dtype, layout=None, device=None, pin_memory=None)
    return torch.unsqueeze(torch.masked_fill(zeros, hidden, -inf), 1)

  # --- Choosing tokens

  # logits [R, V] to float64 [R, 3]: the first of the largest, its log probability, the smallest.
  def greedy(self: __torch__.Operators, logits: Tensor) -> Tensor:
    best = torch.argmax(logits, -1, True)
    logprobs = torch.gather(torch.log_softmax(logits, -1), -1, best)
    return torch.cat([torch.to(best, 7, False, False, None), torch.to(logprobs, 7, False, False, None), torch.to(torch.amin(logits, [-1], True), 7, False, False, None)], -1)

  # --- Sinks

  # For every head and token the length of the token's value behind the output projection, float32:
  # values [1, K, S, D], output_w [hidden, H * D] to [H, S].
  def value_norms(self: __torch__.Operators, values: Tensor, output_w: Tensor) -> Tensor:
    _, K, S, D = torch.size(values)
    H = torch.floordiv(torch.size(output_w, 1), D)
    v = torch.repeat_interleave(torch.to(torch.squeeze(values, 0), 6, False, False, None), torch.floordiv(H, K), 0)
    w = torch.transpose(torch.reshape(torch.to(output_w, 6, False, False, None), [-1, H, D]), 0, 1)
    gram = torch.matmul(torch.transpose(w, 1, 2), w)
    return torch.sqrt(torch.clamp_min(torch.sum(torch.mul(torch.matmul(v, gram), v), [-1]), 0))

  # max over dimensions of abs(x[d]) / sqrt(mean of squares + eps) in float32: x [R, S, hidden] to [R, S].
  def sink_values(self: __torch__.Operators, x: Tensor, dimensions: Tensor, eps: float) -> Tensor:
    h = torch.to(x, 6, False, False, None)
    scale = torch.rsqrt(torch.add(torch.mean(torch.pow(h, 2), [-1]), eps))
    return torch.mul(torch.amax(torch.abs(torch.index_select(h, -1, dimensions)), [-1], False), scale)
