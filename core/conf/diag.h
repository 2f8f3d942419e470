/*
 * diag.h - what is wrong with a configuration: collected, then printed in order
 *
 * Checking never stops at the first mistake, so every finder reports here and
 * goes on.  A report is a copy: it outlives the tree it speaks of.
 */
#ifndef GAC_CONF_DIAG_H
#define GAC_CONF_DIAG_H

#include <stdio.h>

#include <greenarrow/ga_log.h>

/* A file of the configuration.  index: order in which files were opened. */
struct gac_file {
	const char *name;
	unsigned index;
};

/* A place in it; lines and columns count from 1, line 0 = the file as a whole. */
struct gac_pos {
	const struct gac_file *file;
	unsigned line, column;
};

struct ga_diag *gac_diag_new(void) GA_NODISCARD;
void gac_diag_free(struct ga_diag *);

void gac_diag_error_at(struct ga_diag *, const struct gac_pos *, const char *fmt, ...)
    GA_PRINTF(3, 4);
void gac_diag_warn_at(struct ga_diag *, const struct gac_pos *, const char *fmt, ...)
    GA_PRINTF(3, 4);

/*
 * Where ga_diag_error(d, "directive", ...) of a module's check() points: the
 * caller of check() sets this before and clears it (NULL) after.  locate()
 * returns false when the directive is not written anywhere; the report then
 * stands at `whole`.
 */
typedef bool gac_diag_locate_fn(void *arg, const char *directive, struct gac_pos *);
void gac_diag_scope(struct ga_diag *, gac_diag_locate_fn *, void *arg,
    const struct gac_pos *whole, const char *module);

size_t gac_diag_errors(const struct ga_diag *);
size_t gac_diag_warnings(const struct ga_diag *);

/* In the order of files, lines, columns; each report once. */
struct gac_report {
	struct gac_pos pos;	/* file->name lives as long as the diag */
	bool error;
	const char *message;
};
size_t gac_diag_reports(struct ga_diag *, const struct gac_report **);
/* FILE:LINE:COLUMN: message, a line each; "warning: " before a warning. */
void gac_diag_print(struct ga_diag *, FILE *);

#endif
