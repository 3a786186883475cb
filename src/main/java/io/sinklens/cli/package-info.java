/**
 * The command line: each command parses, calls, prints; settings check themselves.
 *
 * <p>Last on the row's journey. Start reading at {@link io.sinklens.cli.SinklensCommand}.
 */
@NullMarked
package io.sinklens.cli;

import org.jspecify.annotations.NullMarked;
