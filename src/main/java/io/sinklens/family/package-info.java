/**
 * Model families: how a published checkpoint becomes a network with its image rule and prompts.
 *
 * <p>One package a family, none of which touches another. Start reading at {@link
 * io.sinklens.family.Family}, then {@link io.sinklens.family.llava.LlavaFamily}.
 */
@NullMarked
package io.sinklens.family;

import org.jspecify.annotations.NullMarked;
