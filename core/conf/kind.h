/*
 * kind.h - what a string must be: the `is=` of a schema
 */
#ifndef GAC_CONF_KIND_H
#define GAC_CONF_KIND_H

#include <greenarrow/ga_conf.h>

/* What the operator's text has to be checked against besides its own form. */
struct gac_kind_env {
	struct ga_pool *pool;
	const char *control_directory;	/* where relative paths start */
	bool files;			/* look at the file system */
};

struct gac_kind {
	const char *name;
	/* NULL, or the reason: "`x` " + "is not an IP address".  May rewrite *s
	 * (a relative path, the case of a domain). */
	const char *(*check)(const struct gac_kind_env *, struct ga_str *s);
	const char *help;	/* for the manual */
};

/* NULL: not a kind of this table (it may be the name of a context). */
const struct gac_kind *gac_kind_find(struct ga_str name);

/* Absolute, in the pool. */
struct ga_str gac_path_absolute(const struct gac_kind_env *, struct ga_str);

#endif
