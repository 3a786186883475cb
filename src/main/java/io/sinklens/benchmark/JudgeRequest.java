package io.sinklens.benchmark;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a judge is to be asked about one row. The wording of the prompt is the published script's
 * and not repeated here: who asks takes it from there and puts the fields in.
 *
 * @param id the row's
 * @param judge the model that the script asks
 * @param temperature of its sampling
 * @param maxTokens most tokens of a reply, null where the script sets none
 * @param prompt where the prompt is published
 * @param fields what goes into the prompt, in its order
 * @param reply which replies can be read
 */
public record JudgeRequest(
    String id,
    String judge,
    double temperature,
    @Nullable Integer maxTokens,
    String prompt,
    Map<String, String> fields,
    String reply) {
  public JudgeRequest {
    fields = Collections.unmodifiableMap(new LinkedHashMap<>(fields));
  }
}
