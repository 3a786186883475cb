class Operators(Module):
  __parameters__ = []
  __buffers__ = []

  # TorchScript, read as text by Operators.java: one method an operator, torch.NAME an aten operator.
  # dtypes are torch's numbers: 4 int64, 5 float16, 6 float32, 7 float64, 15 bfloat16.
  # Letters of shapes: R rows, H heads, K key-value heads, G = H / K, S tokens, Q queries, T keys,
  # D head size; B images in a block of memory, I those of them that run together.

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

  # The same numbers in memory of torch's own.
  def own(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.clone(x, memory_format=0)

  # The same numbers of the same dtype on a device such as "cuda:0".
  def move(self: __torch__.Operators, x: Tensor, device: str) -> Tensor:
    return torch.to(x, torch.device(device), ops.prim.dtype(x), False, False, None)

  # The first number, float32.
  def first(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.to(torch.select(torch.flatten(x, 0, -1), 0, 0), 6, False, False, None)

  # --- Layers

  def linear(self: __torch__.Operators, x: Tensor, weight: Tensor) -> Tensor:
    return self.multiply(x, weight, None)

  def linear_bias(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return self.multiply(x, weight, bias)

  # Products by the fastest way there is. Float32 with weights that are not small: oneDNN's, measured 1.1 to
  # 2 times as fast as the library torch.linear calls, but slower to begin with each new size. Bfloat16 where the processor has no instructions for it: float32 arithmetic on a
  # block of the weight at a time, small enough to stay in the cache; a few rows by torch's own loop.
  # Bfloat16 where it has: rows of zeros fill many up to sixteens, up to a quarter faster.
  def multiply(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    shape = torch.size(x)
    rows = torch.floordiv(torch.numel(x), torch.size(x, -1))
    over = torch.remainder(rows, 16)
    if ops.prim.is_cuda(x):
      y = torch.linear(x, weight, bias)
    else:
      if torch.eq(ops.prim.dtype(x), 6):
        y = self.multiply_float32(x, weight, bias)
      else:
        if self.is_wide(x):
          if torch.gt(rows, 4):
            y = self.multiply_widened(x, weight, bias)
          else:
            y = torch.linear(x, weight, bias)
        else:
          if torch.__and__(torch.gt(rows, 64), torch.gt(over, 0)):
            filled = torch.constant_pad_nd(torch.reshape(x, [rows, -1]), [0, 0, 0, torch.sub(16, over)], 0)
            _0 = torch._set_item(shape, -1, torch.size(weight, 0))
            y = torch.reshape(torch.slice(torch.linear(filled, weight, bias), 0, 0, rows, 1), shape)
          else:
            y = torch.linear(x, weight, bias)
    return y

  def multiply_float32(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    if torch.ge(torch.numel(weight), 1048576):
      y = ops.mkldnn._linear_pointwise(x, weight, bias, "none", annotate(List[Optional[number]], []), "")
    else:
      y = self.multiply_small(x, weight, bias)
    return y

  # With small weights. Up to eleven rows, the library adds up in another order unless they are fours:
  # zeros fill them up, so that a row's product is the same to the last bit whatever runs beside it.
  def multiply_small(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    shape = torch.size(x)
    rows = torch.floordiv(torch.numel(x), torch.size(x, -1))
    over = torch.remainder(rows, 4)
    if torch.__and__(torch.lt(rows, 12), torch.gt(over, 0)):
      filled = torch.constant_pad_nd(torch.reshape(x, [rows, -1]), [0, 0, 0, torch.sub(4, over)], 0)
      _0 = torch._set_item(shape, -1, torch.size(weight, 0))
      y = torch.reshape(torch.slice(torch.linear(filled, weight, bias), 0, 0, rows, 1), shape)
    else:
      y = torch.linear(x, weight, bias)
    return y

  # Of bfloat16 numbers in float32 arithmetic, rounded to bfloat16 at the end.
  def multiply_widened(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    wide = torch.to(x, 6, False, False, None)
    outputs = torch.size(weight, 0)
    block = 1024
    blocks = annotate(List[Tensor], [])
    for i in range(torch.floordiv(torch.sub(torch.add(outputs, block), 1), block)):
      first = torch.mul(i, block)
      last = torch.add(first, block)
      part = torch.to(torch.slice(weight, 0, first, last, 1), 6, False, False, None)
      if torch.__is__(bias, None):
        products = self.multiply_float32(wide, part, None)
      else:
        offset = torch.to(torch.slice(unchecked_cast(Tensor, bias), 0, first, last, 1), 6, False, False, None)
        products = self.multiply_float32(wide, part, offset)
      _0 = torch.append(blocks, torch.to(products, 15, False, False, None))
    return torch.cat(blocks, -1)

  # Whether x is of a type whose products the processor has no instructions for.
  def is_wide(self: __torch__.Operators, x: Tensor) -> bool:
    bfloat16 = torch.__and__(torch.eq(ops.prim.dtype(x), 15), torch.__not__(ops.prim.is_cuda(x)))
    return torch.__and__(bfloat16, torch.__not__(ops.mkldnn._is_mkldnn_bf16_supported()))

  # x in float32 where its products are, as it is elsewhere.
  def widened(self: __torch__.Operators, x: Tensor) -> Tensor:
    if self.is_wide(x):
      y = torch.to(x, 6, False, False, None)
    else:
      y = x
    return y

  def embedding(self: __torch__.Operators, ids: Tensor, weight: Tensor) -> Tensor:
    return torch.embedding(weight, ids, -1, False, False)

  def patches(self: __torch__.Operators, pixels: Tensor, weight: Tensor, stride: int) -> Tensor:
    return self.convolve(pixels, weight, None, stride)

  def patches_bias(self: __torch__.Operators, pixels: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    return self.convolve(pixels, weight, bias, stride)

  # A convolution whose windows do not overlap: pixels [R, C, height, width], weight [hidden, C, stride, stride]
  # to [R, patches, hidden]. On a GPU it is a product, since cuDNN rounds float32 to TF32 unless told not to.
  def convolve(self: __torch__.Operators, pixels: Tensor, weight: Tensor, bias: Optional[Tensor], stride: int) -> Tensor:
    if ops.prim.is_cuda(pixels):
      R, C, height, width = torch.size(pixels)
      rows = torch.floordiv(height, stride)
      columns = torch.floordiv(width, stride)
      inside = torch.slice(torch.slice(pixels, 2, 0, torch.mul(rows, stride), 1), 3, 0, torch.mul(columns, stride), 1)
      blocks = torch.permute(torch.reshape(inside, [R, C, rows, stride, columns, stride]), [0, 2, 4, 1, 3, 5])
      windows = torch.reshape(blocks, [R, torch.mul(rows, columns), torch.mul(C, torch.mul(stride, stride))])
      y = torch.linear(windows, torch.flatten(weight, 1, -1), bias)
    else:
      y = torch.transpose(torch.flatten(torch.conv2d(pixels, weight, bias, [stride, stride], [0, 0], [1, 1], 1), 2, -1), 1, 2)
    return y

  # Patches token by token: pixels [1, C, height, width], M x M patches a token, each patch_size high
  # and wide and repeated for every frame: [1, patches, C * frames * patch_size * patch_size].
  def merged_patches(self: __torch__.Operators, pixels: Tensor, patch_size: int, merge_size: int, frames: int) -> Tensor:
    _, C, height, width = torch.size(pixels)
    side = torch.mul(patch_size, merge_size)
    blocks = torch.reshape(pixels, [C, torch.floordiv(height, side), merge_size, patch_size, torch.floordiv(width, side), merge_size, patch_size])
    ordered = torch.unsqueeze(torch.permute(blocks, [1, 4, 2, 5, 0, 3, 6]), 5)
    repeated = torch.expand(ordered, [-1, -1, -1, -1, -1, frames, -1, -1])
    return torch.reshape(repeated, [1, -1, torch.mul(torch.mul(C, frames), torch.mul(patch_size, patch_size))])

  # Parts of any shape behind one another as numbers.
  def flatten(self: __torch__.Operators, parts: List[Tensor]) -> Tensor:
    flat = annotate(List[Tensor], [])
    for i in range(torch.len(parts)):
      _0 = torch.append(flat, torch.reshape(parts[i], [-1]))
    return torch.cat(flat, 0)

  # Rows of x in the order of an index.
  def take_rows(self: __torch__.Operators, x: Tensor, rows: Tensor) -> Tensor:
    return torch.index_select(x, 0, rows)

  # One token before all others: x [R, S, hidden], token [hidden] to [R, 1 + S, hidden].
  def prepend_token(self: __torch__.Operators, x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([torch.expand(token, [torch.size(x, 0), 1, -1]), x], 1)

  # One row and one column of zeros more: [R, rows, columns, hidden].
  def pad_map(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.constant_pad_nd(x, [0, 0, 0, 1, 0, 1], 0)

  # Parts behind one another: each [.., hidden] to [sum, hidden].
  def concat(self: __torch__.Operators, parts: List[Tensor]) -> Tensor:
    return torch.cat(parts, 0)

  # Rows begin to end.
  def rows(self: __torch__.Operators, x: Tensor, begin: int, end: int) -> Tensor:
    return torch.slice(x, 0, begin, end, 1)

  # Float32 sums over rows, as small as numbers can be: [S, hidden] to [S].
  def sum_rows(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.sum(torch.mul(x, 0), [-1], False, dtype=6)

  # The first rows, in memory of their own.
  def copy_rows(self: __torch__.Operators, x: Tensor, end: int) -> Tensor:
    return torch.clone(torch.slice(x, 0, 0, end, 1), memory_format=0)

  def spoil_rows(self: __torch__.Operators, x: Tensor, rows: Tensor) -> Tensor:
    return torch.index_fill(x, 0, rows, nan)

  # Puts y into rows of x from one on, in place.
  def put_rows(self: __torch__.Operators, x: Tensor, begin: int, y: Tensor) -> Tensor:
    return torch.copy_(torch.slice(x, 0, begin, torch.add(begin, torch.size(y, 0)), 1), y, False)

  # A map of features laid over a smaller grid, half-pixel centres: [rows, columns, hidden].
  def resize_map(self: __torch__.Operators, x: Tensor, rows: int, columns: int) -> Tensor:
    planes = torch.unsqueeze(torch.permute(x, [2, 0, 1]), 0)
    resized = torch.upsample_bilinear2d(torch.contiguous(planes), [rows, columns], False, None, None)
    return torch.permute(torch.squeeze(resized, 0), [1, 2, 0])

  # One token after each row: x [rows, columns, hidden], token [hidden] to [rows, columns + 1, hidden].
  def end_rows(self: __torch__.Operators, x: Tensor, token: Tensor) -> Tensor:
    return torch.cat([x, torch.expand(token, [torch.size(x, 0), 1, -1])], 1)

  # The mean square and the scaling are float32; the product with the weight is the model's dtype.
  # On a GPU in 16 bits it is one kernel, which rounds once.
  def rms_norm(self: __torch__.Operators, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    if self.is_fused(x):
      y = torch.rms_norm(x, torch.size(weight), weight, eps)
    else:
      y = self.rms_norm_in_steps(x, weight, eps)
    return y

  def rms_norm_in_steps(self: __torch__.Operators, x: Tensor, weight: Tensor, eps: float) -> Tensor:
    h = torch.to(x, 6, False, True, None)
    square = torch.div(torch.square(torch.linalg_vector_norm(h, 2, [-1], True, dtype=None)), torch.size(x, -1))
    scaled = torch.mul_(h, torch.rsqrt(torch.add(square, eps)))
    return torch.mul(weight, torch.to(scaled, ops.prim.dtype(x), False, False, None))

  def layer_norm(self: __torch__.Operators, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    return torch.layer_norm(x, torch.size(weight), weight, bias, eps, False)

  def gelu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.gelu(x, approximate="none")

  def gelu_tanh(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.gelu(x, approximate="tanh")

  def quick_gelu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.mul_(torch.sigmoid_(torch.mul(x, 1.702)), x)

  def silu(self: __torch__.Operators, x: Tensor) -> Tensor:
    return torch.silu(x)

  def activate(self: __torch__.Operators, x: Tensor, name: str) -> Tensor:
    if torch.eq(name, "silu"):
      y = torch.silu(x)
    else:
      if torch.eq(name, "gelu"):
        y = torch.gelu(x, approximate="none")
      else:
        if torch.eq(name, "gelu_pytorch_tanh"):
          y = torch.gelu(x, approximate="tanh")
        else:
          y = self.quick_gelu(x)
    return y

  # x and a product: [S, hidden].
  def add_linear(self: __torch__.Operators, x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    return torch.add_(self.multiply(y, weight, None), x, alpha=1)

  # x and what the gated MLP makes of its norm: [S, hidden].
  def add_gated_mlp(self: __torch__.Operators, x: Tensor, norm: Tensor, eps: float, gate: Tensor, up: Tensor, down: Tensor, activation: str) -> Tensor:
    normed = self.rms_norm(x, norm, eps)
    gated = torch.mul_(self.activate(self.multiply(normed, gate, None), activation), self.multiply(normed, up, None))
    return self.add_linear(x, gated, down)

  # --- Rotary position embedding

  # Made on the CPU wherever they are used, as transformers makes them.
  def frequencies(self: __torch__.Operators, theta: float, exponents: Tensor, positions: Tensor) -> Tensor:
    return torch.to(torch.reciprocal(torch.pow(theta, exponents)), ops.prim.device(positions), 6, False, False, None)

  # Angles of positions [...] for half the head size, doubled: [..., D], float32.
  def rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, head_size: int) -> Tensor:
    exponents = torch.div(torch.arange(0, head_size, 2, dtype=6, layout=None, device=None, pin_memory=None), head_size)
    frequencies = self.frequencies(theta, exponents, positions)
    angles = torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies)
    return torch.cat([angles, angles], -1)

  # Angles where each token has three positions [3, S]: the first frequencies turn by the first, the
  # next by the second, the last by the third, as many as sections says; doubled, [S, D], float32.
  def sectioned_rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, sections: List[int]) -> Tensor:
    D = torch.mul(torch.add(torch.add(sections[0], sections[1]), sections[2]), 2)
    exponents = torch.div(torch.arange(0, D, 2, dtype=6, layout=None, device=None, pin_memory=None), D)
    frequencies = self.frequencies(theta, exponents, positions)
    angles = torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies)
    parts = torch.split_with_sizes(angles, sections, -1)
    chosen = torch.cat([torch.select(parts[0], 0, 0), torch.select(parts[1], 0, 1), torch.select(parts[2], 0, 2)], -1)
    return torch.cat([chosen, chosen], -1)

  # Angles of positions [S, 2], row and column: each turns a quarter of the head size, doubled:
  # [S, D], float32.
  def plane_rope_angles(self: __torch__.Operators, positions: Tensor, theta: float, head_size: int) -> Tensor:
    half = torch.floordiv(head_size, 2)
    exponents = torch.div(torch.arange(0, half, 2, dtype=6, layout=None, device=None, pin_memory=None), half)
    frequencies = self.frequencies(theta, exponents, positions)
    angles = torch.flatten(torch.mul(torch.unsqueeze(torch.to(positions, 6, False, False, None), -1), frequencies), 1, -1)
    return torch.cat([angles, angles], -1)

  # x [..., H, D] with the halves of D turned; cos and sin [..., D], the first half of sin negated. Each
  # product is rounded on its own, as in the published code.
  def rope(self: __torch__.Operators, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    halves = torch.chunk(x, 2, -1)
    swapped = torch.cat([halves[1], halves[0]], -1)
    return torch.add(torch.mul(x, torch.unsqueeze(cos, -2)), torch.mul(swapped, torch.unsqueeze(sin, -2)))

  # What attention reads of x [S, hidden]: of its norm queries [S or A, H, D] and keys [S, K, D], turned,
  # and values [S, K, D]. Weights and biases (none, or one each) are of queries, keys and values; a single
  # weight holds for every key-value head its queries, its key and its value. Asking is empty, or one
  # index [A] of the tokens whose queries are wanted.
  def attention_inputs(self: __torch__.Operators, x: Tensor, norm: Tensor, eps: float, weights: List[Tensor], biases: List[Tensor], K: int, D: int, cos: Tensor, sin: Tensor, asking: List[Tensor]) -> List[Tensor]:
    normed = self.rms_norm(x, norm, eps)
    if torch.eq(torch.len(weights), 1):
      query, key, value = self.grouped_heads(normed, weights[0], K, D)
      asked = self.of_tokens(query, asking)
    else:
      asked = self.heads(self.of_tokens(normed, asking), weights, biases, 0, D)
      key = self.heads(normed, weights, biases, 1, D)
      value = self.heads(normed, weights, biases, 2, D)
    turned = self.rope(asked, self.of_tokens(cos, asking), self.of_tokens(sin, asking))
    return [turned, self.rope(key, cos, sin), value]

  def of_tokens(self: __torch__.Operators, x: Tensor, asking: List[Tensor]) -> Tensor:
    if torch.gt(torch.len(asking), 0):
      y = torch.index_select(x, 0, asking[0])
    else:
      y = x
    return y

  # The i-th projection, [S, heads, D]; the sizes said, since there may be no token.
  def heads(self: __torch__.Operators, x: Tensor, weights: List[Tensor], biases: List[Tensor], i: int, D: int) -> Tensor:
    if torch.gt(torch.len(biases), 0):
      y = self.multiply(x, weights[i], biases[i])
    else:
      y = self.multiply(x, weights[i], None)
    return torch.reshape(y, [torch.size(x, 0), torch.floordiv(torch.size(weights[i], 0), D), D])

  def grouped_heads(self: __torch__.Operators, x: Tensor, weight: Tensor, K: int, D: int) -> Tuple[Tensor, Tensor, Tensor]:
    S = torch.size(x, 0)
    G = torch.sub(torch.floordiv(torch.size(weight, 0), torch.mul(K, D)), 2)
    grouped = torch.reshape(self.multiply(x, weight, None), [S, K, torch.add(G, 2), D])
    query = torch.reshape(torch.slice(grouped, 2, 0, G, 1), [S, torch.mul(K, G), D])
    return (query, torch.select(grouped, 2, G), torch.select(grouped, 2, torch.add(G, 1)))

  # The sine of angles [..., D] in a dtype, as rope wants it.
  def rope_sin(self: __torch__.Operators, angles: Tensor, dtype: int) -> Tensor:
    halves = torch.chunk(torch.sin(angles), 2, -1)
    return torch.to(torch.cat([torch.neg(halves[0]), halves[1]], -1), dtype, False, False, None)

  # --- Attention of queries q[begin:end] [I * Q, H, D], those of an image behind one another, to the
  # first T slots of keys and values [B, K, capacity, D] of I images from one on. Written out in
  # blocks: measured, that is faster than torch's fused kernel for the CPU, whose own products of
  # matrices are slower than the library's.

  # The first T slots of I images, [I * K, T, D]: a view.
  def slots(self: __torch__.Operators, keys: Tensor, place: int, images: int, T: int) -> Tensor:
    _, K, _0, D = torch.size(keys)
    taken = torch.slice(torch.slice(keys, 0, place, torch.add(place, images), 1), 2, 0, T, 1)
    return torch.reshape(taken, [torch.mul(images, K), T, D])

  # Scaled scores [I, H, Q, T] in the dtype of products; a mask [I, Q, T] is added, one of [1, 1, 1] is
  # not.
  def attention_scores(self: __torch__.Operators, q: Tensor, begin: int, end: int, keys: Tensor, place: int, images: int, T: int, mask: Tensor, scale: float) -> Tensor:
    _, H, D = torch.size(q)
    Q = torch.floordiv(torch.sub(end, begin), images)
    K = torch.size(keys, 1)
    G = torch.floordiv(H, K)
    N = torch.mul(images, K)
    grouped = torch.reshape(torch.slice(q, 0, begin, end, 1), [images, Q, K, G, D])
    folded = self.widened(torch.reshape(torch.permute(grouped, [0, 2, 3, 1, 4]), [N, torch.mul(G, Q), D]))
    k = self.widened(self.slots(keys, place, images, T))
    if torch.le(torch.mul(G, Q), 8): # Keys times queries: for so few, much the faster order.
      turned = torch.transpose(torch.matmul(k, torch.transpose(folded, 1, 2)), 1, 2)
      products = torch.mul(turned, scale)
    else:
      ignored = torch.zeros([1, 1, 1], dtype=ops.prim.dtype(k), layout=None, device=ops.prim.device(k), pin_memory=None)
      products = torch.baddbmm(torch.expand(ignored, [N, torch.mul(G, Q), T]), folded, torch.transpose(k, 1, 2), beta=0, alpha=scale)
    scores = torch.reshape(products, [images, K, G, Q, T])
    if torch.eq(torch.size(mask, 2), T):
      scores = torch.add(scores, torch.reshape(mask, [torch.size(mask, 0), 1, 1, -1, T]))
    else:
      pass
    return torch.reshape(scores, [images, H, Q, T])

  # float32 weights of scores of any dtype.
  def softmax(self: __torch__.Operators, scores: Tensor) -> Tensor:
    return torch.softmax(scores, -1, dtype=6)

  # Values under weights [I, H, Q, T] of any dtype, in the values' dtype: [I * Q, H * D].
  def weighted_values(self: __torch__.Operators, weights: Tensor, values: Tensor, place: int) -> Tensor:
    I, H, Q, T = torch.size(weights)
    _, K, _0, D = torch.size(values)
    G = torch.floordiv(H, K)
    rounded = torch.to(weights, ops.prim.dtype(values), False, False, None)
    folded = torch.reshape(self.widened(rounded), [torch.mul(I, K), torch.mul(G, Q), T])
    products = torch.matmul(folded, self.widened(self.slots(values, place, I, T)))
    sums = torch.reshape(products, [I, K, G, Q, D])
    return torch.to(torch.reshape(torch.permute(sums, [0, 3, 1, 2, 4]), [torch.mul(I, Q), torch.mul(H, D)]), ops.prim.dtype(values), False, False, None)

  # Whether a GPU's fused kernel computes the attention of x; not in float32, the type of parity, which is
  # written out everywhere.
  def is_fused(self: __torch__.Operators, x: Tensor) -> bool:
    return torch.__and__(ops.prim.is_cuda(x), torch.ne(ops.prim.dtype(x), 6))

  # The same of attention, whose kernel takes heads of some sizes.
  def has_fused_attention(self: __torch__.Operators, q: Tensor) -> bool:
    D = torch.size(q, -1)
    return torch.__and__(self.is_fused(q), torch.__and__(torch.eq(torch.remainder(D, 8), 0), torch.le(D, 256)))

  # The fused kernel on q[begin:end] and the keys of one image, of which in causal order the last query sees
  # all: [Q, H * D].
  def fused_attend(self: __torch__.Operators, q: Tensor, begin: int, end: int, keys: Tensor, values: Tensor, place: int, T: int, causal: bool, scale: float) -> Tensor:
    Q = torch.sub(end, begin)
    queries = torch.unsqueeze(torch.slice(q, 0, begin, end, 1), 0)
    k = torch.transpose(torch.slice(torch.slice(keys, 0, place, torch.add(place, 1), 1), 2, 0, T, 1), 1, 2)
    v = torch.transpose(torch.slice(torch.slice(values, 0, place, torch.add(place, 1), 1), 2, 0, T, 1), 1, 2)
    outputs, _, _0, _1, _2 = torch._flash_attention_forward(queries, k, v, None, None, Q, T, 0., causal, False, scale=scale)
    return torch.reshape(outputs, [Q, -1])

  # Every query to the keys its mask leaves: [I * Q, H * D].
  def attend(self: __torch__.Operators, q: Tensor, begin: int, end: int, keys: Tensor, values: Tensor, place: int, images: int, T: int, mask: Tensor, scale: float) -> Tensor:
    alone = torch.__and__(torch.eq(images, 1), torch.ne(torch.size(mask, -1), T))
    if torch.__and__(self.has_fused_attention(q), alone):
      outputs = self.fused_attend(q, begin, end, keys, values, place, T, False, scale)
    else:
      scores = self.attention_scores(q, begin, end, keys, place, images, T, mask, scale)
      outputs = self.weighted_values(torch.softmax(scores, -1, dtype=None), values, place)
    return outputs

  # The first query of one image to the keys up to a slot, the second to one more, and so on, a block of
  # queries at a time.
  def causal_attend(self: __torch__.Operators, q: Tensor, begin: int, end: int, keys: Tensor, values: Tensor, place: int, slot: int, scale: float, block: int) -> Tensor:
    if self.has_fused_attention(q):
      T = torch.sub(torch.add(slot, end), begin)
      outputs = self.fused_attend(q, begin, end, keys, values, place, T, True, scale)
    else:
      outputs = self.causal_blocks(q, begin, end, keys, values, place, slot, scale, block)
    return outputs

  def causal_blocks(self: __torch__.Operators, q: Tensor, begin: int, end: int, keys: Tensor, values: Tensor, place: int, slot: int, scale: float, block: int) -> Tensor:
    dtype = ops.prim.dtype(q)
    device = ops.prim.device(q)
    later = torch.triu(torch.full([block, block], -inf, dtype=dtype, layout=None, device=device, pin_memory=None), 1)
    none = torch.zeros([1, 1, 1], dtype=dtype, layout=None, device=device, pin_memory=None)
    Q = torch.sub(end, begin)
    blocks = annotate(List[Tensor], [])
    for i in range(torch.floordiv(torch.sub(torch.add(Q, block), 1), block)):
      first = torch.mul(i, block)
      last = ops.prim.min(torch.add(first, block), Q)
      size = torch.sub(last, first)
      T = torch.add(slot, last)
      scores = self.attention_scores(q, torch.add(begin, first), torch.add(begin, last), keys, place, 1, T, none, scale)
      hidden = torch.slice(torch.slice(later, 0, 0, size, 1), 1, 0, size, 1)
      _0 = torch.add_(torch.slice(scores, 3, torch.sub(T, size), T, 1), hidden, alpha=1)
      _1 = torch.append(blocks, self.weighted_values(torch.softmax(scores, -1, dtype=None), values, place))
    return torch.cat(blocks, 0)

  # Every query to every key, a block of queries at a time: q [R, H, S, D], k and v [R, H, T, D].
  def attention(self: __torch__.Operators, q: Tensor, k: Tensor, v: Tensor, scale: float, block: int) -> Tensor:
    if self.is_fused(q):
      outputs = torch.scaled_dot_product_attention(q, k, v, None, 0., False, scale=scale, enable_gqa=False)
    else:
      outputs = self.attention_blocks(q, k, v, scale, block)
    return outputs

  def attention_blocks(self: __torch__.Operators, q: Tensor, k: Tensor, v: Tensor, scale: float, block: int) -> Tensor:
    R, H, S, D = torch.size(q)
    T = torch.size(k, 2)
    queries = self.widened(torch.reshape(q, [torch.mul(R, H), S, D]))
    keys = torch.transpose(self.widened(torch.reshape(k, [torch.mul(R, H), T, D])), 1, 2)
    values = self.widened(torch.reshape(v, [torch.mul(R, H), T, D]))
    none = torch.zeros([1, 1, 1], dtype=ops.prim.dtype(queries), layout=None, device=ops.prim.device(q), pin_memory=None)
    blocks = annotate(List[Tensor], [])
    for i in range(torch.floordiv(torch.sub(torch.add(S, block), 1), block)):
      first = torch.mul(i, block)
      last = ops.prim.min(torch.add(first, block), S)
      ignored = torch.expand(none, [torch.mul(R, H), torch.sub(last, first), T])
      scores = torch.baddbmm(ignored, torch.slice(queries, 1, first, last, 1), keys, beta=0, alpha=scale)
      _0 = torch.append(blocks, torch.matmul(torch.softmax(scores, -1, dtype=None), values))
    return torch.to(torch.reshape(torch.cat(blocks, 1), [R, H, S, D]), ops.prim.dtype(q), False, False, None)

  # --- Key-value cache

  # Memory for numbers to come.
  def empty(self: __torch__.Operators, shape: List[int], dtype: int, device: str) -> Tensor:
    return torch.empty(shape, dtype=dtype, layout=None, device=torch.device(device), pin_memory=None, memory_format=None)

  # The first slots [K, slots, D] of an image's keys or values, in memory of their own.
  def copy_slots(self: __torch__.Operators, keys: Tensor, place: int, end: int) -> Tensor:
    return torch.clone(torch.slice(torch.select(keys, 0, place), 1, 0, end, 1), memory_format=0)

  # Puts such slots first into other keys or values [B, K, capacity, D], in place.
  def put_slots(self: __torch__.Operators, slots: Tensor, keys: Tensor, place: int) -> Tensor:
    return torch.copy_(torch.slice(torch.select(keys, 0, place), 1, 0, torch.size(slots, 1), 1), slots, False)

  # Zeros in an image's slots from one on, in place.
  def clear_slots(self: __torch__.Operators, keys: Tensor, place: int, begin: int) -> Tensor:
    return torch.zero_(torch.slice(torch.select(keys, 0, place), 1, begin, torch.size(keys, 2), 1))

  # Writes k and v [S, K, D] into keys and values [B, K, capacity, D] in place, each token into a slot [S]
  # of a place [S]. What is not finite becomes 0: a row that has failed must not spoil its neighbours' sums.
  def cache_append(self: __torch__.Operators, keys: Tensor, values: Tensor, k: Tensor, v: Tensor, places: Tensor, slots: Tensor) -> Tensor:
    index = annotate(List[Optional[Tensor]], [places, None, slots])
    _0 = torch.index_put_(keys, index, torch.nan_to_num(k, 0., 0., 0.), False)
    return torch.index_put_(values, index, torch.nan_to_num(v, 0., 0., 0.), False)

  # --- Choosing tokens

  # logits [R, V] to float64 [R, 3]: the first of the largest, its log probability, the smallest.
  def greedy(self: __torch__.Operators, logits: Tensor) -> Tensor:
    best = torch.argmax(logits, -1, True)
    logprobs = torch.gather(torch.log_softmax(logits, -1), -1, best)
    return torch.cat([torch.to(best, 7, False, False, None), torch.to(logprobs, 7, False, False, None), torch.to(torch.amin(logits, [-1], True), 7, False, False, None)], -1)

  # logits [R, V] with some tokens of some rows at the lowest number there is.
  def forbid(self: __torch__.Operators, logits: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    lowest = torch.full([], -3.4028234663852886e38, dtype=6, layout=None, device=ops.prim.device(logits), pin_memory=None)
    return torch.index_put(logits, annotate(List[Optional[Tensor]], [torch.unsqueeze(rows, 1), tokens]), lowest, False)

  # --- Sinks

  # For every head and token the length of the token's value behind the output projection, float32:
  # values [S, K, D], output_w [hidden, H * D] to [H, S].
  def value_norms(self: __torch__.Operators, values: Tensor, output_w: Tensor) -> Tensor:
    S, K, D = torch.size(values)
    H = torch.floordiv(torch.size(output_w, 1), D)
    v = torch.repeat_interleave(torch.to(torch.transpose(values, 0, 1), 6, False, False, None), torch.floordiv(H, K), 0)
    w = torch.transpose(torch.reshape(torch.to(output_w, 6, False, False, None), [-1, H, D]), 0, 1)
    gram = torch.matmul(torch.transpose(w, 1, 2), w)
    return torch.sqrt(torch.clamp_min(torch.sum(torch.mul(torch.matmul(v, gram), v), [-1]), 0))

  # max over dimensions of abs(x[d]) / sqrt(mean of squares + eps) in float32: x [Q, hidden] to [Q].
  def sink_values(self: __torch__.Operators, x: Tensor, dimensions: Tensor, eps: float) -> Tensor:
    square = torch.div(torch.square(torch.linalg_vector_norm(x, 2, [-1], False, dtype=6)), torch.size(x, -1))
    largest = torch.amax(torch.abs(torch.to(torch.index_select(x, -1, dimensions), 6, False, False, None)), [-1], False)
    return torch.mul(largest, torch.rsqrt(torch.add(square, eps)))

  # Groups [B, N, 3, capacity] of I images as rows of keys, [I, N * 3, T]: a view.
  def group_members(self: __torch__.Operators, groups: Tensor, place: int, images: int, T: int) -> Tensor:
    taken = torch.slice(torch.slice(groups, 0, place, torch.add(place, images), 1), 3, 0, T, 1)
    return torch.reshape(taken, [images, -1, T])

  # Weights [I, H, Q, T] added up by group of keys: groups [B, N, 3, capacity] holds N choices of three
  # groups of each image as 0 and 1, choice [I, Q] says which is a query's. [I, H, Q, 3].
  def group_sums(self: __torch__.Operators, weights: Tensor, groups: Tensor, place: int, choice: Tensor) -> Tensor:
    I, H, Q, T = torch.size(weights)
    N = torch.size(groups, 1)
    members = torch.transpose(self.group_members(groups, place, I, T), 1, 2)
    sums = torch.reshape(torch.matmul(torch.reshape(weights, [I, torch.mul(H, Q), T]), members), [I, H, Q, N, 3])
    if torch.eq(N, 1):
      chosen = sums
    else:
      chosen = torch.gather(sums, 3, torch.expand(torch.reshape(choice, [I, 1, Q, 1, 1]), [I, H, Q, 1, 3]))
    return torch.squeeze(chosen, 3)

  # Marks slots [S] of places [S] as sinks of the text, or not: groups [B, N, 3, capacity] in place; a
  # sink where values [S] reach least [S].
  def mark_sinks(self: __torch__.Operators, groups: Tensor, places: Tensor, slots: Tensor, values: Tensor, least: Tensor) -> Tensor:
    text_sinks = torch.select(groups, 2, 2)
    marks = torch.to(torch.unsqueeze(torch.ge(values, least), 1), 6, False, False, None)
    return torch.index_put_(text_sinks, annotate(List[Optional[Tensor]], [places, None, slots]), marks, False)

  # Puts the groups of a prefix in place, and none of slots no row uses yet: values [P], least [N] into
  # groups [B, N, 3, capacity] of visual sinks, visual non-sinks, text sinks; and counts [B, N] of visual
  # sinks.
  def key_groups(self: __torch__.Operators, values: Tensor, least: Tensor, image_start: int, groups: Tensor, counts: Tensor, place: int) -> Tensor:
    P = torch.size(values, 0)
    sinks = torch.to(torch.ge(values, torch.unsqueeze(least, 1)), 6, False, False, None)
    image = torch.to(torch.ge(torch.arange(0, P, 1, dtype=4, layout=None, device=ops.prim.device(values), pin_memory=None), image_start), 6, False, False, None)
    visual = torch.mul(sinks, image)
    all = torch.stack([visual, torch.sub(image, visual), torch.sub(sinks, visual)], 1)
    padded = torch.constant_pad_nd(all, [0, torch.sub(torch.size(groups, 3), P)], 0)
    _0 = torch.copy_(torch.select(groups, 0, place), padded, False)
    return torch.copy_(torch.select(counts, 0, place), torch.sum(visual, [1]), False)

  # 1 where a head is image-centric for a query, else 0: sums [I, H, Q, 3], settings [I, Q, 6] of the
  # query's row, how many queries follow the reference, visual sinks of each choice of groups [B, N] and
  # the query's choice [I, Q]; [I, H, Q].
  def select_heads(self: __torch__.Operators, sums: Tensor, settings: Tensor, references: int, visual_sinks: Tensor, place: int, choice: Tensor) -> Tensor:
    follows_reference, least_ratio, most_sinks, least_image, any_sink, epsilon = torch.unbind(torch.unsqueeze(settings, 1), 3)
    sinks, nonsinks, _ = torch.unbind(sums, 3)
    image = torch.add(sinks, nonsinks)
    by_paper = torch.ge(nonsinks, torch.mul(image, least_ratio))
    if torch.gt(references, 0):
      by_reference = torch.le(torch.div(sinks, torch.add(image, epsilon)), most_sinks)
      centric = torch.where(torch.gt(follows_reference, 0), by_reference, by_paper)
    else:
      centric = by_paper
    own = torch.slice(visual_sinks, 0, place, torch.add(place, torch.size(choice, 0)), 1)
    present = torch.gt(torch.add(torch.unsqueeze(torch.gather(own, 1, choice), 1), any_sink), 0)
    somewhere_to_go = torch.ge(nonsinks, 1.1754943508222875e-38)
    enough = torch.logical_and(torch.ge(image, least_image), somewhere_to_go)
    return torch.to(torch.logical_and(torch.logical_and(centric, enough), present), 6, False, False, None)

  # Weights [I, H, Q, T] with a share [I, Q] of every sink's given to visual non-sinks, where selected
  # [I, H, Q].
  def redistribute(self: __torch__.Operators, weights: Tensor, sums: Tensor, groups: Tensor, place: int, choice: Tensor, selected: Tensor, share: Tensor) -> Tensor:
    I, H, Q, T = torch.size(weights)
    N = torch.size(groups, 1)
    visual_sinks, nonsinks, text_sinks = torch.unbind(sums, 3)
    taken = torch.mul(selected, torch.unsqueeze(share, 1))
    budget = torch.mul(taken, torch.add(visual_sinks, text_sinks))
    given = torch.div(budget, torch.clamp_min(nonsinks, 1.1754943508222875e-38))
    lost = torch.neg(taken)
    change = torch.unsqueeze(torch.stack([lost, given, lost], 3), 3)
    if torch.eq(N, 1):
      changes = change
    else:
      own = torch.eq(torch.unsqueeze(choice, 2), torch.arange(0, N, 1, dtype=4, layout=None, device=ops.prim.device(weights), pin_memory=None))
      changes = torch.mul(change, torch.reshape(torch.to(own, 6, False, False, None), [I, 1, Q, N, 1]))
    factors = torch.matmul(torch.reshape(changes, [I, torch.mul(H, Q), torch.mul(N, 3)]), self.group_members(groups, place, I, T))
    return torch.addcmul(weights, weights, torch.reshape(factors, [I, H, Q, T]), value=1)

  # Weights [H, Q, T] without the prefix keys that kept [R, P] has as 0 for the query's row [Q], and the
  # others divided by their sum; a query of whose row nothing is missing keeps its own.
  def knock_out(self: __torch__.Operators, weights: Tensor, kept: Tensor, rows: Tensor) -> Tensor:
    T = torch.size(weights, 2)
    of_queries = torch.index_select(kept, 0, rows)
    mask = torch.constant_pad_nd(of_queries, [0, torch.sub(T, torch.size(kept, 1))], 1)
    left = torch.mul(weights, mask)
    sums = torch.clamp_min(torch.sum(left, [-1], True), 1.1754943508222875e-38)
    touched = torch.unsqueeze(torch.lt(torch.amin(of_queries, [-1], False), 1), 1)
    return torch.div(left, torch.where(touched, sums, torch.ones_like(sums)))

  # Means over heads of what some queries give the keys from one to another: weights [H, Q, T], queries
  # [A] to [A, keys].
  def mean_over_heads(self: __torch__.Operators, weights: Tensor, queries: Tensor, begin: int, end: int) -> Tensor:
    return torch.mean(torch.slice(torch.index_select(weights, 1, queries), 2, begin, end, 1), [0], False)

  # Weights [H, Q, T] on the prefix keys times a factor of each head and key [H, P]: [H, Q, P].
  def scale_keys(self: __torch__.Operators, weights: Tensor, factors: Tensor) -> Tensor:
    return torch.mul(torch.slice(weights, 2, 0, torch.size(factors, 1), 1), torch.unsqueeze(factors, 1))

  # Sums by group [I, H, Q, 3] and selection [I, H, Q] of some queries [A], indices of I * Q: [A, H, 4].
  def note_queries(self: __torch__.Operators, sums: Tensor, selected: Tensor, queries: Tensor) -> Tensor:
    I, H, Q, _ = torch.size(sums)
    both = torch.permute(torch.cat([sums, torch.unsqueeze(selected, 3)], 3), [0, 2, 1, 3])
    return torch.index_select(torch.reshape(both, [torch.mul(I, Q), H, 4]), 0, queries)
