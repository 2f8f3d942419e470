/*
 * conf_tree.h - a checked configuration: modules, directives, objects, settings
 *
 * Made by gac_conf_load(), then read-only.  Everything lives in conf->pool.
 * The words: a *decl* is a directive that some module declares; an *object* is
 * a block with all its parts merged; a *setting* is what one object says for
 * one decl; a *part* is one statement that contributed to it.
 */
#ifndef GAC_CONF_CONF_TREE_H
#define GAC_CONF_CONF_TREE_H

#include <greenarrow/conf.h>

#include "conf/conf.h"
#include "conf/context.h"
#include "conf/manifest.h"
#include "conf/pattern.h"
#include "conf/schema.h"
#include "conf/strmap.h"
#include "conf/tree.h"

struct gac_conf_module {
	const char *name;
	unsigned index;			/* core is 0, then the order of load_module */
	struct gac_manifest manifest;	/* of core: empty */
	struct gac_decl *decls;
	size_t ndecls;
	struct gac_pos pos;		/* of its load_module line */
};

struct gac_part {
	struct gac_part *next;
	const struct gac_stmt *stmt;
};

struct gac_setting {
	struct gac_setting *next;	/* while being built */
	const struct gac_decl *decl;
	const struct ga_object *object;
	struct gac_part *parts, **tail;
	const struct gac_stmt *last;	/* the statement that decides; lists: the last */
	union gac_typed value;
};

struct gac_use {			/* use_module */
	struct gac_use *next;
	unsigned module;
	bool on;
};

struct ga_object {
	struct gac_conf *conf;
	const struct gac_context *context;
	struct ga_str name;
	uint32_t index;
	struct ga_object *parent;	/* NULL: top level */
	struct ga_object *children, **tail, *next;
	struct gac_strmap by_name;	/* children: "context name" */
	const struct gac_pattern *patterns;	/* of a domain block or a rule */
	size_t npatterns;
	struct ga_strlist pattern_texts;
	struct gac_pos pos;
	const char *where;
	struct gac_setting *building;
	struct gac_setting **settings;	/* sorted by decl->index */
	size_t nsettings;
	struct gac_use *uses;		/* the last statement first */
};

struct gac_conf {
	struct ga_pool *pool;
	const struct gac_file *file;
	const char *control_directory, *module_directory;
	struct gac_owners owners;
	bool files;			/* look at the file system */

	struct gac_conf_module **modules;
	size_t nmodules;
	struct gac_decl **decls;
	size_t ndecls;
	struct gac_strmap decl_names;	/* the first of each name; then ->same */
	struct gac_strmap module_names;

	struct ga_object **objects;	/* by index */
	uint32_t nobjects, objects_room;
	struct ga_object *root, *general, *any_ip;	/* any_ip: ip_address *, may be NULL */
	struct ga_object **module_objects;		/* by module index, may be NULL */

	const struct gac_conf_options *options;		/* while loading */
	struct gac_conf_module *unloaded;	/* modules in module_directory that are not loaded */
	size_t nunloaded;
	bool scanned;
};

/* objects.c: the objects of a tree, settings unconverted. */
void gac_objects_build(struct gac_conf *, struct ga_diag *, const struct gac_stmt *top);
/* convert.c: values of settings and defaults. */
bool gac_convert(const struct gac_conf *, struct ga_diag *, const struct gac_decl *,
    const struct gac_part *parts, union gac_typed *);
void gac_convert_default(const struct gac_conf *, struct ga_diag *, struct gac_decl *);
/* rules.c: required, unique, once, use_module, patterns of rules; after conversion. */
void gac_rules_check(struct gac_conf *, struct ga_diag *);
/* modules.c: load_module lines; what a module that is not loaded declares. */
void gac_modules_load(struct gac_conf *, struct ga_diag *, const struct gac_stmt *top);
const char *gac_modules_declaring(struct gac_conf *, struct ga_str directive);
struct gac_conf_module *gac_conf_module_find(const struct gac_conf *, struct ga_str name);

/* What that object says for it; NULL: nothing. */
const struct gac_setting *gac_object_setting(const struct ga_object *, const struct gac_decl *);
const struct gac_decl *gac_decl_find(const struct gac_conf *, const char *module, const char *field);
/* objects.c: may that block say it? */
bool gac_decl_stands_in(const struct gac_decl *, const struct ga_object *);
/* How it is written there: in a throttle_template default_X. */
struct ga_str gac_decl_written(struct ga_pool *, const struct gac_decl *, const struct ga_object *);
/* Any of the blocks, defined at the top level. */
struct ga_object *gac_object_find(const struct gac_conf *, unsigned contexts, struct ga_str name);
/* The setting in force for a list of blocks, then module, general, top; NULL: the default. */
const struct gac_setting *gac_lookup(const struct gac_conf *, const struct gac_decl *,
    const struct ga_object *const *blocks, size_t n);
/* "ip_address ip-1", "general", "domain example.com of ip_address ip-1" */
const char *gac_object_title(struct ga_pool *, const struct ga_object *);

#endif
