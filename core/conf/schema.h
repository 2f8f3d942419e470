/*
 * schema.h - a module's table of directives, read from its text
 *
 * The text is made by GA_CONF_SCHEMA / GA_MODULE: one line a directive, six
 * columns separated by tabs (see <greenarrow/ga_conf.h>).
 */
#ifndef GAC_CONF_SCHEMA_H
#define GAC_CONF_SCHEMA_H

#include "conf/diag.h"
#include "conf/kind.h"
#include "conf/value.h"

struct gac_conf_module;

/* What one word must be: a kind, or the name of a block. */
struct gac_is {
	const char *name;		/* "ip", "virtual_mta" */
	const struct gac_kind *kind;	/* NULL: a reference */
	unsigned contexts;		/* blocks that it may name */
};

struct gac_decl {
	struct ga_str field;
	enum gac_type type;
	const struct gac_conf_module *module;
	unsigned index;			/* among all directives of the configuration */
	const struct gac_decl *same;	/* the same name, declared by another module */

	const char *dflt, *constraint, *help;	/* as in the schema */
	unsigned contexts;		/* GAC_CTX_BIT()s */
	bool required, repeat, route, restart, unique, unique_in_block, once;
	bool has_min, has_max;
	union gac_typed min, max;
	const char *min_text, *max_text;
	const struct ga_str *choices;
	size_t nchoices;
	const struct gac_is *is;
	size_t nis;
	unsigned words_min, words_max;	/* of a statement or, for a table, of an item */

	union gac_typed dvalue;		/* the default */
};

/* True for lists and tables: repeated statements add up. */
bool gac_decl_accumulates(const struct gac_decl *);
/* True when it may stand in a throttle_template: its name there is default_X. */
bool gac_decl_in_template(const struct gac_decl *);
/* True when only routing rules and their domain blocks know it. */
bool gac_decl_of_routing_rules(const struct gac_decl *);
#define GAC_TEMPLATE_PREFIX "default_"

/*
 * The directives of a text, in its order, in the pool.  Mistakes are reported
 * at `pos` as the module's.  Defaults are not converted yet (convert.h).
 */
struct gac_decl *gac_schema_read(struct ga_pool *, struct ga_diag *, const struct gac_pos *pos,
    const struct gac_conf_module *, const char *module_name, struct ga_str text, size_t *n);

/* The next field up to `sep` (or the end); false when s was used up. */
bool gac_split(struct ga_str *s, char sep, struct ga_str *field);

#endif
