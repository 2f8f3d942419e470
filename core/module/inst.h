/*
 * inst.h - loaded modules and their instances; for core code only.
 */
#ifndef CORE_MODULE_INST_H
#define CORE_MODULE_INST_H

#include <stdatomic.h>

#include <greenarrow/conf.h>
#include <greenarrow/ga_module.h>
#include <greenarrow/run.h>

#define GAC_MODULES_MAX 64		/* a plan's set of modules is 64 bits */

/* Code: opened once, never closed. */
struct gac_code {
	unsigned index;			/* order of load_module, over all reloads */
	const char *path;		/* "(built in)" when preloaded */
	struct ga_module desc;		/* a copy: what an older module lacks is zero */
	struct ga_hooks hooks;		/* the same */
	struct ga_inst *kept;		/* GA_KEEP_INSTANCE: the one instance */
};

struct ga_hold {
	struct ga_hold *next, **prev;
	struct ga_inst *inst;
	const char *what_for;
};

struct ga_inst {
	struct gac_code *module;
	struct ga_pool *pool;
	uint64_t generation;		/* number of the snapshot it was made for */
	const void *conf;		/* general scope, of that snapshot */
	void *state;
	void **worker_state;		/* ga_worker_count() + 1 of them */
	_Atomic int64_t *stats;
	bool initialised;
	_Atomic unsigned waits;		/* calls that are suspended */
};

/* A new instance, not initialised; its general settings are those of the snapshot. */
struct ga_inst *gac_inst_new(struct gac_code *, const void *conf);
/* fini() when it was initialised; frees it. Main thread. */
void gac_inst_free(struct ga_inst *);
/* Value of a counter of the descriptor; any thread. */
int64_t gac_inst_stat(const struct ga_inst *, unsigned stat);


/* The instance of the code with that index in the generation of this snapshot; NULL: not loaded in it. */
struct ga_inst *gac_inst_of(const struct ga_snapshot *, unsigned index);

/* Holds of instances, for status and for waiting at a stop. */
size_t gac_holds(const struct ga_inst *, void (*each)(const struct ga_hold *, void *), void *arg);
/* Called on the main loop whenever the last hold of all went. */
void gac_holds_empty(void (*fn)(void));

struct ga_step {
	union {
		void (*any)(void);
		enum ga_verdict (*ask)(struct ga_call *, const void *);
		void (*tell)(struct ga_call *, const void *);
	} fn;				/* fn.any NULL: the end */
	struct ga_inst *inst;
};

enum gac_hook_class { GAC_DECIDE, GAC_SHAPE, GAC_PERMIT, GAC_AMEND, GAC_WATCH };
struct gac_hook {
	const char *name;
	enum gac_hook_class class;
	size_t offset;			/* in struct ga_hooks */
	unsigned verdicts;		/* bits 1 << GA_...: what may be answered besides PASS */
};
extern const struct gac_hook gac_hooks[GA_HOOK_COUNT_];

/* A plan of the instances whose bit is set in `modules`, in their order, for the hooks that
 * each wants. */
typedef bool gac_hook_wanted_fn(const void *arg, const struct ga_inst *, const char *hook);
const struct ga_plan *gac_plan_build(struct ga_pool *, struct ga_inst *const *insts,
    unsigned n, uint64_t modules, gac_hook_wanted_fn *, const void *arg);
/* The same without an instance.  Lives as long as the snapshot; any thread. */
const struct ga_plan *gac_plan_without(const struct ga_snapshot *, const struct ga_plan *,
    const struct ga_inst *);
/* The copy itself. */
const struct ga_plan *gac_plan_copy_without(struct ga_pool *, const struct ga_plan *,
    const struct ga_inst *);

/* Services and registrations of an instance that failed to come up or is gone. */
void gac_services_forget(const struct ga_inst *);

#endif
