/**
 * What can be done about attention: hooks that change it, and pure functions that say how.
 *
 * <p>Start reading at {@link io.sinklens.intervention.VarSettings}, then {@link
 * io.sinklens.intervention.HeadSelection}, {@link io.sinklens.intervention.Redistribution} and
 * {@link io.sinklens.intervention.Var}; beside it stands {@link io.sinklens.intervention.Knockout}.
 */
@NullMarked
package io.sinklens.intervention;

import org.jspecify.annotations.NullMarked;
