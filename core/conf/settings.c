/*
 * settings.c - what holds in one scope: one object for each distinct list of blocks
 *
 * Domains that match the same blocks share their settings, so memory grows with
 * what the file distinguishes and not with the number of domains seen.  Look-up
 * takes no lock: entries are immutable and are linked in last.  Making one,
 * filling a module's struct and building a plan happen once, under the lock of
 * the snapshot, and are published with release order.  Called from any thread.
 */
#include <limits.h>
#include <string.h>

#include "conf/snapshot_impl.h"

static uint32_t hash_blocks(const struct ga_object *const *blocks, size_t n)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ blocks[i]->index) * 16777619u;
	return h;
}

static struct ga_settings *find(struct ga_settings *s, uint32_t hash,
    const struct ga_object *const *blocks, size_t n)
{
	for (; s != NULL; s = s->next)
		if (s->hash == hash && s->nblocks == n &&
		    (n == 0 || memcmp(s->blocks, blocks, n * sizeof *blocks) == 0))
			return s;
	return NULL;
}

static bool module_on(const struct ga_object *const *blocks, size_t n, unsigned module)
{
	for (size_t i = 0; i < n; i++)
		for (const struct gac_use *u = blocks[i]->uses; u != NULL; u = u->next)
			if (u->module == module)
				return u->on;
	return true;
}

static struct ga_settings *make(struct ga_snapshot *snap, uint32_t hash,
    const struct ga_object *const *blocks, size_t n)
{
	struct ga_settings *s = ga_alloc(snap->pool, sizeof *s);

	s->snapshot = snap;
	s->hash = hash;
	s->nblocks = n;
	s->blocks = ga_alloc(snap->pool, (n + 1) * sizeof *s->blocks);
	if (n > 0)
		memcpy(s->blocks, blocks, n * sizeof *blocks);
	s->confs = ga_alloc(snap->pool, snap->conf->nmodules * sizeof *s->confs);
	s->enabled = ga_alloc(snap->pool, snap->nwords * sizeof *s->enabled);
	for (size_t i = 1; i < snap->conf->nmodules; i++)
		if (module_on(blocks, n, (unsigned)i))
			s->enabled[(i - 1) / 64] |= UINT64_C(1) << ((i - 1) % 64);
	return s;
}

const struct ga_settings *gac_settings_intern(struct ga_snapshot *snap,
    const struct ga_object *const *blocks, size_t n)
{
	uint32_t hash = hash_blocks(blocks, n);
	_Atomic(struct ga_settings *) *bucket = &snap->buckets[hash % GAC_SETTINGS_BUCKETS];
	struct ga_settings *s = find(atomic_load_explicit(bucket, memory_order_acquire), hash, blocks, n);

	if (s != NULL)
		return s;
	pthread_mutex_lock(&snap->lock);
	s = find(atomic_load_explicit(bucket, memory_order_acquire), hash, blocks, n);
	if (s == NULL) {
		s = make(snap, hash, blocks, n);
		s->next = atomic_load_explicit(bucket, memory_order_relaxed);
		atomic_store_explicit(bucket, s, memory_order_release);
		atomic_fetch_add(&snap->distinct, 1);
	}
	pthread_mutex_unlock(&snap->lock);
	return s;
}

/* ---- the struct of a module */

static const struct gac_setting *setting_of(const struct ga_settings *s, const struct gac_decl *d)
{
	return gac_lookup(s->snapshot->conf, d, s->blocks, s->nblocks);
}

static void *fill(const struct ga_settings *s, const struct gac_conf_module *m, const struct gac_layout *l)
{
	char *to = ga_alloc(s->snapshot->pool, l->size);

	for (size_t i = 0; i < m->ndecls; i++) {
		const struct ga_conf_slot *slot = l->slots[i];
		const struct gac_setting *st;

		if (slot == NULL)
			continue;
		st = setting_of(s, &m->decls[i]);
		memcpy(to + slot->offset, st != NULL ? &st->value : &m->decls[i].dvalue, slot->size);
	}
	return to;
}

const void *ga_settings_conf(const struct ga_settings *s, const char *module)
{
	struct ga_snapshot *snap = s->snapshot;
	const struct gac_conf_module *m = gac_conf_module_find(snap->conf, ga_str_c(module));
	void *conf;

	if (m == NULL || snap->layouts[m->index].size == 0)
		return NULL;
	conf = atomic_load_explicit(&s->confs[m->index], memory_order_acquire);
	if (conf != NULL)
		return conf;
	pthread_mutex_lock(&snap->lock);
	conf = atomic_load_explicit(&s->confs[m->index], memory_order_acquire);
	if (conf == NULL) {
		conf = fill(s, m, &snap->layouts[m->index]);
		atomic_store_explicit(&s->confs[m->index], conf, memory_order_release);
	}
	pthread_mutex_unlock(&snap->lock);
	return conf;
}

static const struct gac_setting *setting_by_name(const struct ga_settings *s, const char *module,
    const char *field)
{
	const struct gac_decl *d = gac_decl_find(s->snapshot->conf, module, field);

	return d == NULL ? NULL : setting_of(s, d);
}

const struct ga_object *ga_settings_source(const struct ga_settings *s, const char *module,
    const char *field)
{
	const struct gac_setting *st = setting_by_name(s, module, field);

	return st == NULL ? NULL : st->object;
}

const char *ga_settings_where(const struct ga_settings *s, const char *module, const char *field)
{
	const struct gac_setting *st = setting_by_name(s, module, field);

	return st == NULL ? "" : st->last->where;
}

bool ga_settings_place(const struct ga_settings *s, const char *module, const char *field,
    size_t row, size_t word, struct ga_place *place)
{
	const struct gac_setting *st = setting_by_name(s, module, field);
	const struct gac_part *part = st == NULL ? NULL : st->parts;
	size_t first = 0;

	for (; part != NULL && row >= part->stmt->nitems; part = part->next)
		row -= part->stmt->nitems;
	if (part == NULL)
		return false;
	while (first < part->stmt->nwords && part->stmt->words[first].item < row)
		first++;
	if (word >= part->stmt->nwords - first || part->stmt->words[first + word].item != row)
		return false;
	*place = (struct ga_place){ part->stmt->words[first + word].pos.file->name,
		part->stmt->words[first + word].pos.line, part->stmt->words[first + word].pos.column };
	return true;
}

unsigned ga_settings_rank(const struct ga_settings *s, const struct ga_object *block)
{
	for (size_t i = 0; i < s->nblocks; i++)
		if (s->blocks[i] == block)
			return (unsigned)i;
	return UINT_MAX;
}

const struct ga_object *ga_settings_block(const struct ga_settings *s)
{
	return s->nblocks > 0 ? s->blocks[0] : NULL;
}

bool ga_settings_flag(const struct ga_settings *s, const char *module, const char *field)
{
	const struct gac_decl *d = gac_decl_find(s->snapshot->conf, module, field);
	const struct gac_setting *st = d == NULL ? NULL : setting_of(s, d);

	if (d == NULL || d->type != GAC_T_FLAG)
		return false;
	return st != NULL ? st->value.flag : d->dvalue.flag;
}

struct ga_snapshot *ga_settings_snapshot(const struct ga_settings *s)
{
	return s->snapshot;
}

/* ---- plans */

bool gac_settings_enabled(const struct ga_settings *s, size_t module)
{
	return module + 1 < s->snapshot->conf->nmodules &&
	    (s->enabled[module / 64] >> (module % 64) & 1) != 0;
}

bool gac_settings_of_service(const struct ga_settings *s)
{
	const struct ga_object *block = ga_settings_block(s);

	return block != NULL && block->context->id == GAC_CTX_SMTP_SERVICE;
}

/*
 * Not under the lock of the snapshot, so that the registry may ask for settings;
 * plan_lock keeps two threads from building for one snapshot at once.
 */
const struct ga_plan *ga_settings_plan(const struct ga_settings *s)
{
	struct ga_snapshot *snap = s->snapshot;
	struct ga_settings *mine = (struct ga_settings *)(uintptr_t)s;

	if (snap->build_plan == NULL)
		return NULL;
	if (atomic_load_explicit(&s->planned, memory_order_acquire))
		return atomic_load_explicit(&s->plan, memory_order_relaxed);
	pthread_mutex_lock(&snap->plan_lock);
	if (!atomic_load_explicit(&s->planned, memory_order_acquire)) {
		const struct ga_plan *plan = snap->build_plan(snap->ctx, s, s->enabled, snap->conf->nmodules - 1);

		atomic_store_explicit(&mine->plan, plan, memory_order_relaxed);
		atomic_store_explicit(&mine->planned, true, memory_order_release);
	}
	pthread_mutex_unlock(&snap->plan_lock);
	return atomic_load_explicit(&s->plan, memory_order_relaxed);
}

size_t gac_settings_blocks(const struct ga_settings *s, const struct ga_object *const **blocks)
{
	*blocks = s->blocks;
	return s->nblocks;
}
