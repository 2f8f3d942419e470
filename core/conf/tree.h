/*
 * tree.h - greenarrow.conf as statements
 *
 * The tree knows the grammar and `include`, and nothing of what a directive
 * means.  All of it lives in one pool.
 */
#ifndef GAC_CONF_TREE_H
#define GAC_CONF_TREE_H

#include "conf/diag.h"

struct gac_word {
	struct ga_str text;
	struct gac_pos pos;
	unsigned item;		/* which comma item it belongs to, from 0 */
	bool quoted;
};

struct gac_stmt {
	struct gac_stmt *next;
	struct gac_word name;
	struct gac_word *words;	/* what follows the name */
	size_t nwords;
	unsigned nitems;	/* comma items; 0 when there are no words */
	struct ga_str written;	/* the values as the file has them */
	bool block;		/* ended in `{` */
	struct gac_stmt *children;
	const char *where;	/* "file:line" */
};

struct gac_stmt_list {
	struct gac_stmt *first, **tail;
};

struct gac_tree {
	struct ga_pool *pool;
	struct ga_diag *diag;
	unsigned nfiles;
	bool no_files;			/* include is refused (fuzzing) */
	struct gac_stmt_list top;
};

void gac_tree_init(struct gac_tree *, struct ga_pool *, struct ga_diag *);
/* Reads a file and all that it includes; mistakes go to diag.  Returns the
 * gac_file of it, for messages about the configuration as a whole. */
const struct gac_file *gac_tree_read(struct gac_tree *, const char *path);
/* The same with a text in memory; includes start at the folder of `name`. */
const struct gac_file *gac_tree_text(struct gac_tree *, const char *name, struct ga_str text);

/* Values alone ("a, b c"): what a schema writes as a default. */
void gac_tree_values(struct ga_pool *, struct ga_diag *, const struct gac_file *, struct ga_str text,
    struct gac_stmt *out);

#endif
