/*
 * snapshot.c - one validated configuration: immutable, counted, read from any thread
 *
 * The daemon publishes a snapshot at start and at each reload; sessions and
 * attempts keep the one they began with.  Owns the configuration, the index of
 * domain patterns and everything resolved from them; all is freed as pools when
 * the last reference goes.  Resolved settings are in settings.c.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/snapshot_impl.h"

/* current_lock covers reading the pointer and counting, so that the last
 * reference cannot go in between. */
static pthread_rwlock_t current_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct ga_snapshot *current;
static uint64_t last_number;
static __thread struct ga_snapshot *coming;

/* ---- making */

static const struct ga_conf_slot *find_slot(const struct ga_conf_schema *schema,
    const struct gac_decl *d)
{
	for (uint32_t i = 0; i < schema->nslots; i++)
		if (ga_str_eq(d->field, ga_str_c(schema->slots[i].field)))
			return &schema->slots[i];
	return NULL;
}

/* A slot that would not fit is not used: the loader has compared the texts, so
 * that this is an error of the program, but not one to write past memory for. */
static void lay_out(struct ga_pool *pool, const struct gac_conf_module *m,
    const struct ga_conf_schema *schema, struct gac_layout *l)
{
	if (schema == NULL)
		return;
	l->size = schema->size;
	l->slots = ga_alloc(pool, (m->ndecls + 1) * sizeof *l->slots);
	for (size_t i = 0; i < m->ndecls; i++) {
		const struct ga_conf_slot *slot = find_slot(schema, &m->decls[i]);

		if (slot != NULL && slot->size == gac_type_size(m->decls[i].type) &&
		    slot->offset <= schema->size && slot->size <= schema->size - slot->offset)
			l->slots[i] = slot;
	}
}

struct ga_snapshot *gac_snapshot_new(struct gac_conf *conf, const struct gac_snapshot_options *o)
{
	struct ga_snapshot *snap = ga_xcalloc(1, sizeof *snap);

	atomic_init(&snap->refs, 1);
	snap->conf = conf;
	snap->pool = ga_pool_new(16 * 1024);
	pthread_mutex_init(&snap->lock, NULL);
	pthread_mutex_init(&snap->plan_lock, NULL);
	snap->index = gac_index_new(snap->pool, conf);
	snap->nwords = conf->nmodules / 64 + 1;
	snap->layouts = ga_alloc(snap->pool, conf->nmodules * sizeof *snap->layouts);
	lay_out(snap->pool, conf->modules[0], &gac_core_schema, &snap->layouts[0]);
	for (size_t i = 0; o != NULL && i < o->nmodules; i++) {
		const struct gac_conf_module *m = gac_conf_module_find(conf, ga_str_c(o->modules[i].name));

		if (m != NULL && m->index > 0)
			lay_out(snap->pool, m, o->modules[i].schema, &snap->layouts[m->index]);
	}
	if (o != NULL) {
		snap->build_plan = o->build_plan;
		snap->released = o->released;
		snap->ctx = o->ctx;
	}
	snap->general = gac_settings_intern(snap, NULL, 0);
	return snap;
}

static void destroy(struct ga_snapshot *snap)
{
	if (snap->released != NULL)
		snap->released(snap->ctx, snap);
	pthread_mutex_destroy(&snap->lock);
	pthread_mutex_destroy(&snap->plan_lock);
	ga_pool_free(snap->pool);
	gac_conf_free(snap->conf);
	free(snap);
}

/* ---- references */

struct ga_snapshot *ga_snapshot_ref(struct ga_snapshot *snap)
{
	if (snap != NULL)
		atomic_fetch_add_explicit(&snap->refs, 1, memory_order_relaxed);
	return snap;
}

void ga_snapshot_unref(struct ga_snapshot *snap)
{
	if (snap != NULL && atomic_fetch_sub_explicit(&snap->refs, 1, memory_order_acq_rel) == 1)
		destroy(snap);
}

struct ga_snapshot *ga_snapshot_current(void)
{
	struct ga_snapshot *snap;

	if (coming != NULL)
		return ga_snapshot_ref(coming);
	pthread_rwlock_rdlock(&current_lock);
	snap = ga_snapshot_ref(current);
	pthread_rwlock_unlock(&current_lock);
	return snap;
}

void gac_snapshot_coming(struct ga_snapshot *snap)
{
	coming = snap;
}

void gac_snapshot_publish(struct ga_snapshot *snap)
{
	struct ga_snapshot *before;

	ga_snapshot_ref(snap);
	pthread_rwlock_wrlock(&current_lock);
	before = current;
	current = snap;
	if (snap != NULL && snap->number == 0)
		snap->number = ++last_number;
	pthread_rwlock_unlock(&current_lock);
	ga_snapshot_unref(before);
}

uint64_t ga_snapshot_number(const struct ga_snapshot *snap)
{
	return snap->number;
}

const struct gac_conf *gac_snapshot_conf(const struct ga_snapshot *snap)
{
	return snap->conf;
}

void *gac_snapshot_ctx(const struct ga_snapshot *snap)
{
	return snap->ctx;
}

size_t gac_snapshot_distinct(const struct ga_snapshot *snap)
{
	return atomic_load(&snap->distinct);
}

/* ---- scopes */

const struct ga_settings *ga_snapshot_general(struct ga_snapshot *snap)
{
	return snap->general;
}

const struct gac_core_conf *gac_snapshot_core(struct ga_snapshot *snap)
{
	return ga_settings_conf(snap->general, GAC_CORE_MODULE);
}

static bool is_whole(const struct gac_conf *conf, const struct ga_object *o)
{
	return o == conf->general || o == conf->root || o->context->id == GAC_CTX_MODULE;
}

const struct ga_settings *ga_snapshot_object(struct ga_snapshot *snap, const struct ga_object *o)
{
	const struct ga_settings *s;
	struct gac_picks picks;
	bool virtual_mta = false;

	gac_picks_init(&picks);
	for (; o != NULL && !is_whole(snap->conf, o); o = o->parent) {
		gac_picks_add(&picks, o);
		virtual_mta = virtual_mta || o->context->virtual_mta;
	}
	if (virtual_mta && snap->conf->any_ip != NULL)
		gac_picks_add(&picks, snap->conf->any_ip);
	s = gac_settings_intern(snap, picks.v, picks.n);
	gac_picks_free(&picks);
	return s;
}

static const struct ga_object *find_vmta(const struct ga_snapshot *snap, struct ga_str name)
{
	const unsigned bits = GAC_CTX_BIT(GAC_CTX_IP_ADDRESS) | GAC_CTX_BIT(GAC_CTX_RELAY_SERVER) |
	    GAC_CTX_BIT(GAC_CTX_ROUTING_RULE);

	return name.n == 0 ? NULL : gac_object_find(snap->conf, bits, name);
}

const struct ga_settings *ga_snapshot_resolve(struct ga_snapshot *snap, struct ga_str vmta,
    struct ga_str domain, const struct ga_str *mx, size_t nmx)
{
	const struct ga_settings *s;
	struct gac_picks picks;

	gac_picks_init(&picks);
	gac_index_pick(snap->index, find_vmta(snap, vmta), domain, mx, nmx, &picks);
	s = gac_settings_intern(snap, picks.v, picks.n);
	gac_picks_free(&picks);
	return s;
}

bool ga_snapshot_wants_mx(struct ga_snapshot *snap, struct ga_str vmta)
{
	return gac_index_wants_mx(snap->index, find_vmta(snap, vmta));
}

/* ---- objects */

static const struct ga_object *first_of(const struct ga_object *o, const struct gac_context *ctx)
{
	while (o != NULL && o->context != ctx)
		o = o->next;
	return o;
}

/* The general block exists always; it is shown when the file has one. */
static const struct ga_object *shown(const struct ga_object *o)
{
	return o != NULL && o == o->conf->general && o->pos.line == 0 ? NULL : o;
}

const struct ga_object *ga_object_first(struct ga_snapshot *snap, const struct ga_object *parent,
    const char *context)
{
	const struct gac_context *ctx = gac_context_find(ga_str_c(context));

	if (ctx == NULL)
		return NULL;
	return shown(first_of(parent == NULL ? snap->conf->root->children : parent->children, ctx));
}

const struct ga_object *ga_object_next(const struct ga_object *o)
{
	return first_of(o->next, o->context);
}

const struct ga_object *ga_object_find(struct ga_snapshot *snap, const char *context,
    struct ga_str name)
{
	const struct gac_context *ctx = gac_context_find(ga_str_c(context));

	return ctx == NULL ? NULL : shown(gac_object_find(snap->conf, GAC_CTX_BIT(ctx->id), name));
}

const char *ga_object_context(const struct ga_object *o)
{
	return o->context->name;
}

struct ga_str ga_object_name(const struct ga_object *o)
{
	return o->name;
}

struct ga_strlist ga_object_patterns(const struct ga_object *o)
{
	if (o->context->id == GAC_CTX_DOMAIN || o->context->id == GAC_CTX_RULE)
		return o->pattern_texts;
	return (struct ga_strlist){ &o->name, 1 };
}

const struct ga_object *ga_object_parent(const struct ga_object *o)
{
	return o->parent;
}

const char *ga_object_where(const struct ga_object *o)
{
	return o->where;
}

uint32_t ga_object_index(const struct ga_object *o)
{
	return o->index;
}

bool ga_object_has(const struct ga_object *o, const char *module, const char *field)
{
	const struct gac_decl *d = gac_decl_find(o->conf, module, field);

	return d != NULL && gac_object_setting(o, d) != NULL;
}

/* ---- what a reload cannot change */

static bool same_setting(const struct gac_setting *a, const struct gac_setting *b)
{
	const struct gac_part *p = a == NULL ? NULL : a->parts, *q = b == NULL ? NULL : b->parts;

	for (; p != NULL && q != NULL; p = p->next, q = q->next)
		if (!ga_str_eq(p->stmt->written, q->stmt->written))
			return false;
	return p == NULL && q == NULL;
}

void gac_conf_needs_restart(const struct gac_conf *before, const struct gac_conf *now,
    gac_restart_fn *fn, void *arg)
{
	for (size_t i = 0; i < now->ndecls; i++) {
		const struct gac_decl *d = now->decls[i];
		const struct gac_decl *old = gac_decl_find(before, d->module->name, d->field.p);
		const struct gac_setting *a, *b;

		if (!d->restart || old == NULL)
			continue;
		a = gac_lookup(before, old, NULL, 0);
		b = gac_lookup(now, d, NULL, 0);
		if (!same_setting(a, b))
			fn(arg, d->module->name, d->field.p, b == NULL ? "" : b->last->where);
	}
}
