/*
 * log_output.h - where the daemon's own log goes.  Level strict.
 *
 * The core writes its lines to stderr until a module says otherwise.  One module may take
 * them; one that takes them later replaces it.
 */
#ifndef GREENARROW_LOG_OUTPUT_H
#define GREENARROW_LOG_OUTPUT_H

#include <greenarrow/ga_log.h>

GA_BEGIN

/*
 * One line, "warn spool: text [GA-SPL-0007]": without time and LF, control characters
 * escaped, at most 2 KiB, borrowed.  Any thread, also two at once; must not block, and must not
 * log.  False: not taken, the core writes it to stderr.
 */
typedef bool ga_log_output_fn(void *arg, enum ga_level, struct ga_str line);
/*
 * From now on lines go to fn, and those that were logged since the process began come first (the
 * newest 200 of them).  With --foreground stderr has them all too, and so it has until the
 * daemon is ready.  NULL: to stderr again; when this returns fn is not running and is not called
 * again.  Main thread, in init and fini.
 */
GA_EXPORT void ga_log_output(ga_log_output_fn *fn, void *arg);

GA_END

#endif
