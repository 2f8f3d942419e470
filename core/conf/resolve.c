/*
 * resolve.c - which domain blocks match: the order of look-up
 *
 * A directive for a VirtualMTA and a domain is looked for in
 *   1. the domain blocks of the VirtualMTA: exact, wildcard, exact mx:, wildcard mx:
 *   2. the domain blocks of `ip_address *`, in the same order
 *   3. the rules and domain blocks of the throttle_template that the VirtualMTA
 *      names, or else `ip_address *`, in the same order    4. that template itself
 *   5. the VirtualMTA itself      6. `ip_address *`
 *   7. the domain blocks at the top level    8. general (the caller's)
 * Templates are for ip_address alone: a relay_server or routing_rule has none.
 * Wildcards for foo.example.com are tried as [*.]foo.example.com,
 * *.example.com, [*.]example.com, *.com, [*.]com, *.  The MX names are walked
 * in order of preference.  Of blocks with one and the same pattern the later
 * one comes first, because later statements win.
 *
 * The index is built when a snapshot is made and is read-only after that: each
 * suffix of a name is hashed once and looked up in at most three tables.  No
 * allocation unless more than 48 blocks match.  Called by snapshot.c from any
 * thread.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/core_schema.h"
#include "conf/resolve.h"

/* A name has at most 127 parts (253 characters). */
#define MAX_SUFFIXES 128

struct node {
	struct node *next;
	const struct ga_object *block;
};

/* The patterns over one domain: d, [*.]d and *.d. */
struct entry {
	struct node *of[GAC_PAT_ANY];
};

struct table {
	struct gac_strmap entries;
	struct node *any;		/* `*` */
	bool used;
};

/* The domain blocks of one VirtualMTA, of `*`, or of the top level; a template's with its rules. */
struct owner {
	struct table recipient, mx;
};

struct gac_index {
	const struct gac_conf *conf;
	struct owner **owners;		/* by index of the object; NULL: has no domain blocks */
	const struct ga_object **templates;	/* by index of the ip_address; NULL: none */
};

struct suffixes {
	size_t n;
	struct ga_str s[MAX_SUFFIXES];
	uint32_t hash[MAX_SUFFIXES];
};

/* ---- the index */

static void push(struct ga_pool *pool, struct node **list, const struct ga_object *block)
{
	struct node *n = ga_alloc(pool, sizeof *n);

	n->block = block;
	n->next = *list;
	*list = n;
}

static void enter(struct ga_pool *pool, struct owner *o, const struct gac_pattern *p,
    const struct ga_object *block)
{
	struct table *t = p->mx ? &o->mx : &o->recipient;
	struct entry *e;

	t->used = true;
	if (p->kind == GAC_PAT_ANY) {
		push(pool, &t->any, block);
		return;
	}
	e = gac_strmap_get(&t->entries, p->domain);
	if (e == NULL) {
		e = ga_alloc(pool, sizeof *e);
		gac_strmap_put(&t->entries, p->domain, e);
	}
	push(pool, &e->of[p->kind], block);
}

static struct owner *index_children(struct ga_pool *pool, const struct ga_object *parent)
{
	struct owner *o = NULL;

	for (const struct ga_object *c = parent->children; c != NULL; c = c->next) {
		if (c->context->id != GAC_CTX_DOMAIN && c->context->id != GAC_CTX_RULE)
			continue;
		if (o == NULL) {
			o = ga_alloc(pool, sizeof *o);
			gac_strmap_init(&o->recipient.entries, pool, true);
			gac_strmap_init(&o->mx.entries, pool, true);
		}
		for (size_t i = 0; i < c->npatterns; i++)
			enter(pool, o, &c->patterns[i], c);
	}
	return o;
}

static bool owns_blocks(const struct gac_conf *conf, const struct ga_object *o)
{
	return o->context->virtual_mta || o->context->id == GAC_CTX_THROTTLE_TEMPLATE || o == conf->root;
}

/* The template that it names, or else `ip_address *`. */
static const struct ga_object *find_template(const struct gac_conf *conf, const struct ga_object *o)
{
	const struct gac_decl *d = gac_decl_find(conf, GAC_CORE_MODULE, "throttle_template");
	const struct gac_setting *s = gac_object_setting(o, d);

	if (s == NULL && conf->any_ip != NULL)
		s = gac_object_setting(conf->any_ip, d);
	return s == NULL ? NULL : gac_object_find(conf, GAC_CTX_BIT(GAC_CTX_THROTTLE_TEMPLATE), s->value.str);
}

struct gac_index *gac_index_new(struct ga_pool *pool, const struct gac_conf *conf)
{
	struct gac_index *x = ga_alloc(pool, sizeof *x);

	x->conf = conf;
	x->owners = ga_alloc(pool, conf->nobjects * sizeof *x->owners);
	x->templates = ga_alloc(pool, conf->nobjects * sizeof *x->templates);
	for (uint32_t i = 0; i < conf->nobjects; i++) {
		if (owns_blocks(conf, conf->objects[i]))
			x->owners[i] = index_children(pool, conf->objects[i]);
		if (conf->objects[i]->context->id == GAC_CTX_IP_ADDRESS)
			x->templates[i] = find_template(conf, conf->objects[i]);
	}
	return x;
}

/* ---- what was found */

void gac_picks_init(struct gac_picks *p)
{
	p->v = p->inplace;
	p->n = 0;
	p->room = sizeof p->inplace / sizeof p->inplace[0];
}

void gac_picks_free(struct gac_picks *p)
{
	if (p->v != p->inplace)
		free(p->v);
}

void gac_picks_add(struct gac_picks *p, const struct ga_object *block)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->v[i] == block)
			return;
	if (p->n == p->room) {
		const struct ga_object **v = ga_xmalloc(p->room * 2 * sizeof *v);

		memcpy(v, p->v, p->n * sizeof *v);
		gac_picks_free(p);
		p->v = v;
		p->room *= 2;
	}
	p->v[p->n++] = block;
}

static void add_all(struct gac_picks *p, const struct node *list)
{
	for (; list != NULL; list = list->next)
		gac_picks_add(p, list->block);
}

/* ---- matching */

static void suffixes_of(struct ga_str name, struct suffixes *x)
{
	x->n = 0;
	if (name.n > 0 && name.p[name.n - 1] == '.')
		name.n--;
	while (name.n > 0 && x->n < MAX_SUFFIXES) {
		const char *dot = memchr(name.p, '.', name.n);
		size_t skip = dot == NULL ? name.n : (size_t)(dot - name.p) + 1;

		x->s[x->n] = name;
		x->hash[x->n++] = ga_str_hash(name, true);
		name.p += skip;
		name.n -= skip;
	}
}

static const struct entry *find(const struct table *t, const struct suffixes *x, size_t i)
{
	return gac_strmap_get_hashed(&t->entries, x->s[i], x->hash[i]);
}

static void pick_exact(const struct table *t, const struct suffixes *x, struct gac_picks *out)
{
	const struct entry *e = x->n == 0 ? NULL : find(t, x, 0);

	if (e != NULL)
		add_all(out, e->of[GAC_PAT_EXACT]);
}

static void pick_wildcard(const struct table *t, const struct suffixes *x, struct gac_picks *out)
{
	for (size_t i = 0; i < x->n; i++) {
		const struct entry *e = find(t, x, i);

		if (e != NULL && i > 0)
			add_all(out, e->of[GAC_PAT_SUB]);
		if (e != NULL)
			add_all(out, e->of[GAC_PAT_BOTH]);
	}
	if (x->n > 0)
		add_all(out, t->any);
}

static void pick_domain_blocks(const struct owner *o, const struct suffixes *domain,
    const struct ga_str *mx, size_t nmx, struct gac_picks *out)
{
	struct suffixes host;

	if (o == NULL)
		return;
	if (o->recipient.used) {
		pick_exact(&o->recipient, domain, out);
		pick_wildcard(&o->recipient, domain, out);
	}
	for (size_t i = 0; o->mx.used && i < nmx; i++) {
		suffixes_of(mx[i], &host);
		pick_exact(&o->mx, &host, out);
	}
	for (size_t i = 0; o->mx.used && i < nmx; i++) {
		suffixes_of(mx[i], &host);
		pick_wildcard(&o->mx, &host, out);
	}
}

static const struct owner *owner_of(const struct gac_index *x, const struct ga_object *o)
{
	return o == NULL ? NULL : x->owners[o->index];
}

/* vmta NULL: what `ip_address *` says. */
static const struct ga_object *template_of(const struct gac_index *x, const struct ga_object *vmta)
{
	if (vmta == NULL)
		vmta = x->conf->any_ip;
	return vmta == NULL ? NULL : x->templates[vmta->index];
}

void gac_index_pick(const struct gac_index *x, const struct ga_object *vmta, struct ga_str domain,
    const struct ga_str *mx, size_t nmx, struct gac_picks *out)
{
	const struct ga_object *any = x->conf->any_ip, *template = template_of(x, vmta);
	struct suffixes s;

	if (vmta == any)
		vmta = NULL;
	suffixes_of(domain, &s);
	pick_domain_blocks(owner_of(x, vmta), &s, mx, nmx, out);
	pick_domain_blocks(owner_of(x, any), &s, mx, nmx, out);
	pick_domain_blocks(owner_of(x, template), &s, mx, nmx, out);
	if (template != NULL)
		gac_picks_add(out, template);
	if (vmta != NULL)
		gac_picks_add(out, vmta);
	if (any != NULL)
		gac_picks_add(out, any);
	pick_domain_blocks(owner_of(x, x->conf->root), &s, mx, nmx, out);
}

static bool has_mx(const struct owner *o)
{
	return o != NULL && o->mx.used;
}

bool gac_index_wants_mx(const struct gac_index *x, const struct ga_object *vmta)
{
	return has_mx(owner_of(x, vmta)) || has_mx(owner_of(x, x->conf->any_ip)) ||
	    has_mx(owner_of(x, template_of(x, vmta))) || has_mx(owner_of(x, x->conf->root));
}
