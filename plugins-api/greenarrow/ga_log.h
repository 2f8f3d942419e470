/*
 * ga_log.h - three audiences: the operator's log, the person who edits the
 * configuration, and the numbers.  (The fourth, the peer, gets ga_reply().)
 *
 * Log calls never block: the line is formatted by the caller and handed to the
 * log writer.  Control characters in it are escaped, so one call is one line.
 */
#ifndef GREENARROW_GA_LOG_H
#define GREENARROW_GA_LOG_H

#include <greenarrow/ga_mem.h>

GA_BEGIN

struct ga_inst;			/* one configured instance of a module */
struct ga_call;			/* one running hook call */

enum ga_level { GA_DEBUG, GA_INFO, GA_NOTICE, GA_WARN, GA_ERR };

/*
 * tag is a stable, greppable id ("GA-THR-0007"), never reused: the text may
 * change, the tag may not.  Any thread.  inst may be NULL only in the core.
 */
GA_EXPORT void ga_log(struct ga_inst *, enum ga_level, const char *tag,
    const char *fmt, ...) GA_PRINTF(4, 5);
/* The same, with the session, transaction or attempt that the call is about. */
GA_EXPORT void ga_call_log(struct ga_call *, enum ga_level, const char *tag,
    const char *fmt, ...) GA_PRINTF(4, 5);
/* True when a line of this level would be written: guards costly arguments. */
GA_EXPORT bool ga_log_wanted(struct ga_inst *, enum ga_level);

/* Where a configuration problem is; the core adds file:line:column of the directive as
 * the general block has it, or of load_module (also when directive is NULL). */
struct ga_diag;
GA_EXPORT void ga_diag_error(struct ga_diag *, const char *directive,
    const char *fmt, ...) GA_PRINTF(3, 4);
GA_EXPORT void ga_diag_warn(struct ga_diag *, const char *directive,
    const char *fmt, ...) GA_PRINTF(3, 4);
/* The same about a place in a file of the module's own: line and column count from 1,
 * line 0 is the file as a whole.  file is copied. */
GA_EXPORT void ga_diag_error_at(struct ga_diag *, const char *file, unsigned line,
    unsigned column, const char *fmt, ...) GA_PRINTF(5, 6);
GA_EXPORT void ga_diag_warn_at(struct ga_diag *, const char *file, unsigned line,
    unsigned column, const char *fmt, ...) GA_PRINTF(5, 6);

/* Counters are declared in the descriptor, so operators see zeros too. */
enum ga_stat_kind { GA_STAT_COUNTER, GA_STAT_GAUGE };

struct ga_stat {
	enum ga_stat_kind kind;
	const char *name;	/* "deferred_total" */
	const char *help;
};

/* stat is the index into the descriptor's table.  Atomic; any thread. */
GA_EXPORT void ga_stat_add(struct ga_inst *, unsigned stat, int64_t by);

GA_END

#endif
