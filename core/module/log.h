/*
 * log.h - the daemon's own log: lines handed to a writer thread.
 */
#ifndef CORE_MODULE_LOG_H
#define CORE_MODULE_LOG_H

#include <stdarg.h>

#include <greenarrow/ga_log.h>

/* One line about `subject` (a module's name, "core").  Any thread; never blocks. */
void gac_log(enum ga_level, const char *subject, const char *tag, const char *fmt, ...)
    GA_PRINTF(4, 5);
void gac_vlog(enum ga_level, const char *subject, const char *tag, const char *object,
    const char *fmt, va_list) GA_PRINTF(5, 0);
bool gac_log_wanted(enum ga_level);

/* Why something refuses: what this thread logs at level error from now on is kept
 * too, as "subject: text" and one line each, until it is taken.  NULL: nothing was
 * logged; else malloc'd, without the last line end. */
void gac_log_collect(void);
char *gac_log_collected(void);

/* Lines below this level are not written. Default GA_INFO. */
void gac_log_level(enum ga_level);
/* From now on a thread writes the lines (after daemonising, before loops).  keep_stderr false:
 * not those that a module takes (log_output.h). */
void gac_log_start(bool keep_stderr);
/* Writes what is left and ends the thread; lines are then written directly. */
void gac_log_stop(void);
/* To the module that takes the log (log_output.h), without time and LF; false: nobody has
 * taken it.  Any thread. */
bool gac_log_give(enum ga_level, struct ga_str line);
/* No module that comes from now on is given the lines that were logged before. */
void gac_log_early_end(void);
/* Where lines go: a descriptor (default 2). With syslog_prefix, "<6>" leads each
 * line, as the journal of systemd understands it. */
void gac_log_to(int fd, bool syslog_prefix);

#endif
