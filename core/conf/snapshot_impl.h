/*
 * snapshot_impl.h - the insides of a snapshot, shared by snapshot.c and settings.c
 */
#ifndef GAC_CONF_SNAPSHOT_IMPL_H
#define GAC_CONF_SNAPSHOT_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "conf/conf_tree.h"
#include "conf/resolve.h"
#include "conf/snapshot.h"

/* Distinct settings are few (at most what the file distinguishes). */
#define GAC_SETTINGS_BUCKETS 1024

/* The slots of a module, by position of the directive in its schema. */
struct gac_layout {
	uint32_t size;				/* of the struct; 0: none known */
	const struct ga_conf_slot **slots;	/* NULL: no such field */
};

struct ga_snapshot {
	atomic_uint refs;
	uint64_t number;
	struct gac_conf *conf;
	struct ga_pool *pool;			/* of what is resolved; under the lock */
	pthread_mutex_t lock, plan_lock;
	struct gac_index *index;
	struct gac_layout *layouts;		/* by module index, core is 0 */
	size_t nwords;				/* of an enabled set */
	gac_build_plan_fn *build_plan;
	void (*released)(void *ctx, struct ga_snapshot *);
	void *ctx;
	const struct ga_settings *general;
	atomic_size_t distinct;
	_Atomic(struct ga_settings *) buckets[GAC_SETTINGS_BUCKETS];
};

struct ga_settings {
	struct ga_snapshot *snapshot;
	struct ga_settings *next;		/* in the bucket; set before it is reachable */
	uint32_t hash;
	size_t nblocks;
	const struct ga_object **blocks;
	_Atomic(void *) *confs;			/* by module index; filled when asked for */
	_Atomic(const struct ga_plan *) plan;
	atomic_bool planned;
	uint64_t *enabled;
};

/* The settings of that list of blocks, made if it is new.  Any thread. */
const struct ga_settings *gac_settings_intern(struct ga_snapshot *, const struct ga_object *const *,
    size_t n);

#endif
