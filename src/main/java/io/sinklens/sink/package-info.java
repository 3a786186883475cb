/**
 * Attention sinks: which tokens are sinks, and how much attention they receive.
 *
 * <p>Stands beside {@code model} on the row's journey: the decoder calls in through its hook. Start
 * reading at {@link io.sinklens.sink.PrefixSinkValues}, then {@link io.sinklens.sink.SinkDetector};
 * what tokens add is in {@link io.sinklens.sink.Contributions}. Source: Kang et al., "See What You
 * Are Told: Visual Attention Sink in Large Multimodal Models", ICLR 2025.
 */
@NullMarked
package io.sinklens.sink;

import org.jspecify.annotations.NullMarked;
