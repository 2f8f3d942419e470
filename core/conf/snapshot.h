/*
 * snapshot.h - the core's side of <greenarrow/conf.h>: making and publishing snapshots
 *
 * A snapshot owns a checked configuration and all that is resolved from it.
 * The loader makes one, the daemon publishes it; what is read through
 * <greenarrow/conf.h> needs no lock of the caller's.
 */
#ifndef GAC_CONF_SNAPSHOT_H
#define GAC_CONF_SNAPSHOT_H

#include <greenarrow/conf.h>

#include "conf/conf.h"
#include "conf/core_schema.h"

/* The schema with offsets of a module whose code is loaded. */
struct gac_snapshot_module {
	const char *name;
	const struct ga_conf_schema *schema;	/* NULL: no directives */
};

/*
 * The hooks in force in a scope.  enabled: bit i of word i/64 stands for the
 * i-th load_module line (gac_conf_module_name(conf, i)), use_module applied.
 * Called once for each distinct settings, by any thread, never by two at once
 * for one snapshot; may read the snapshot (settings, structs), but not ask for
 * another plan.  The plan is the registry's.
 */
typedef const struct ga_plan *gac_build_plan_fn(void *ctx, const struct ga_settings *,
    const uint64_t *enabled, size_t nmodules);

struct gac_snapshot_options {
	const struct gac_snapshot_module *modules;	/* copied */
	size_t nmodules;
	gac_build_plan_fn *build_plan;		/* NULL: no plans */
	/* The last reference went: any thread, just before the memory goes. */
	void (*released)(void *ctx, struct ga_snapshot *);	/* may be NULL */
	void *ctx;
};

/* Takes conf over.  One reference for the caller. */
struct ga_snapshot *gac_snapshot_new(struct gac_conf *, const struct gac_snapshot_options *)
    GA_NODISCARD;
/*
 * Makes it the current one, with a reference of its own; the one before loses
 * that reference.  NULL: there is none any more.  Numbers it on the way.
 */
void gac_snapshot_publish(struct ga_snapshot *);

/*
 * On this thread ga_snapshot_current() means that one, until NULL: while check,
 * init and reload of modules run for a configuration that is not in force yet.
 */
void gac_snapshot_coming(struct ga_snapshot *);

const struct gac_conf *gac_snapshot_conf(const struct ga_snapshot *);
/* options.ctx: the generation of instances that goes with it. */
void *gac_snapshot_ctx(const struct ga_snapshot *);
/* Values of the general block for the core. */
const struct gac_core_conf *gac_snapshot_core(struct ga_snapshot *);
/* Is the i-th module (order of load_module) on in this scope? */
bool gac_settings_enabled(const struct ga_settings *, size_t module);
/* The scope is an smtp_service. */
bool gac_settings_of_service(const struct ga_settings *);
/* How many distinct settings were resolved so far: for status and tests. */
size_t gac_snapshot_distinct(const struct ga_snapshot *);

/* The blocks that a settings is made of, most specific first; general is implied. */
size_t gac_settings_blocks(const struct ga_settings *, const struct ga_object *const **);

/*
 * Directives marked `restart` whose values differ: fn for each.  What reload
 * prints as "takes effect at the next start".
 */
typedef void gac_restart_fn(void *arg, const char *module, const char *field, const char *where);
void gac_conf_needs_restart(const struct gac_conf *before, const struct gac_conf *now,
    gac_restart_fn *fn, void *arg);

#endif
