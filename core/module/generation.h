/*
 * generation.h - the instances that go with one snapshot.
 *
 * load → check → init → start → publish, and back.  All on the main thread or
 * main loop; start, drain and stop run on the workers and are waited for by
 * completion, never by blocking.
 */
#ifndef CORE_MODULE_GENERATION_H
#define CORE_MODULE_GENERATION_H

#include <pthread.h>

#include "conf/conf.h"
#include "conf/diag.h"
#include "conf/snapshot.h"
#include "module/inst.h"

struct gac_generation {
	struct ga_snapshot *snapshot;	/* no reference: the snapshot points here */
	struct ga_pool *pool;		/* plans */
	pthread_mutex_t lock;		/* of pool and less */
	struct gac_less *less;		/* plans without modules that left a session */
	unsigned n;
	struct gac_code *codes[GAC_MODULES_MAX];	/* order of load_module */
	struct ga_inst *insts[GAC_MODULES_MAX];		/* the same order; NULL until made */
	bool fresh[GAC_MODULES_MAX];			/* made for this generation */
	struct ga_post released;
};

/* Opens the code of every module of conf and makes the snapshot (one reference
 * for the caller); conf is taken over.  NULL: errors are in diag. */
struct ga_snapshot *gac_generation_load(struct gac_conf *conf, struct ga_diag *);
/* Runs each module's check() with its structs of the snapshot. */
void gac_generation_check(struct ga_snapshot *, struct ga_diag *);
/* Instances, first start: new and initialised.  False: a line is in the log. */
bool gac_generation_init(struct ga_snapshot *);
/* Instances for a reload: kept ones are told, others made and initialised.  False:
 * *why says what the module said, one line or more; the caller frees it. */
bool gac_generation_reload(struct ga_snapshot *, char **why);
/* Undoes init or reload of one that was never published. */
void gac_generation_abandon(struct ga_snapshot *);

/* The daemon ends, no worker runs: every instance of the snapshot in force (or, when
 * none is, of that one) is finished, last loaded first.  Snapshots released from
 * here on are freed at once. */
void gac_generation_end(struct ga_snapshot *);

struct gac_generation *gac_generation_of(const struct ga_snapshot *);

/*
 * Runs fn(worker) on every worker, then then() on the main loop.  One at a time.
 */
void gac_on_each_worker(void (*fn)(struct ga_worker *), void (*then)(void));

#endif
