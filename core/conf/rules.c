/*
 * rules.c - what holds for settings as a whole: required, unique, once, patterns, use_module
 *
 * Converts the settings of all objects (convert.c), then checks the constraints
 * that need more than one value to judge.  Called by gac_conf_load() when all
 * objects are known; one thread.
 */
#include <stdlib.h>
#include <string.h>

#include "conf/conf_tree.h"
#include "conf/core_schema.h"
#include "conf/nearest.h"

static int by_decl(const void *a, const void *b)
{
	const struct gac_setting *const *x = a, *const *y = b;

	return ((*x)->decl->index > (*y)->decl->index) - ((*x)->decl->index < (*y)->decl->index);
}

static void convert_object(struct gac_conf *conf, struct ga_diag *diag, struct ga_object *o)
{
	size_t n = 0;

	o->settings = ga_alloc(conf->pool, (o->nsettings + 1) * sizeof(struct gac_setting *));
	for (struct gac_setting *s = o->building; s != NULL; s = s->next) {
		gac_convert(conf, diag, s->decl, s->parts, &s->value);
		o->settings[n++] = s;
	}
	o->building = NULL;
	qsort(o->settings, n, sizeof(struct gac_setting *), by_decl);
}

const struct gac_setting *gac_object_setting(const struct ga_object *o, const struct gac_decl *d)
{
	size_t lo = 0, hi = o->nsettings;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (o->settings[mid]->decl->index < d->index)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < o->nsettings && o->settings[lo]->decl == d ? o->settings[lo] : NULL;
}

const struct gac_setting *gac_lookup(const struct gac_conf *conf, const struct gac_decl *d,
    const struct ga_object *const *blocks, size_t n)
{
	const struct ga_object *last[3] = {
		conf->module_objects[d->module->index], conf->general, conf->root
	};

	for (size_t i = 0; i < n; i++) {
		const struct gac_setting *s = gac_object_setting(blocks[i], d);

		if (s != NULL)
			return s;
	}
	for (size_t i = 0; i < 3; i++) {
		const struct gac_setting *s = last[i] == NULL ? NULL : gac_object_setting(last[i], d);

		if (s != NULL)
			return s;
	}
	return NULL;
}

const struct gac_decl *gac_decl_find(const struct gac_conf *conf, const char *module, const char *field)
{
	const struct gac_decl *d = gac_strmap_get(&conf->decl_names, ga_str_c(field));

	while (d != NULL && strcmp(d->module->name, module) != 0)
		d = d->same;
	return d;
}

/* ---- once, unique */

/* What of a statement may be repeated in a message. */
static struct ga_str told(const struct gac_decl *d, const struct gac_stmt *s)
{
	return d->type == GAC_T_SECRET ? GA_STR("***") : s->written;
}

static void check_once(struct gac_conf *conf, struct ga_diag *diag, const struct gac_setting *s)
{
	const struct gac_part *first = s->parts;

	for (const struct gac_part *p = first->next; p != NULL; p = p->next) {
		if (ga_str_eq(p->stmt->written, first->stmt->written))
			continue;
		gac_diag_error_at(diag, &p->stmt->name.pos,
		    "%.*s: %s has `%.*s` already (%s); it can have one only",
		    (int)s->last->name.text.n, s->last->name.text.p,
		    gac_object_title(conf->pool, s->object), (int)told(s->decl, first->stmt).n,
		    told(s->decl, first->stmt).p, first->stmt->where);
	}
}

static struct ga_str unique_key(struct ga_pool *pool, const struct gac_setting *s)
{
	if (s->decl->type == GAC_T_INT)
		return ga_fmt(pool, "%u %lld", s->decl->index, (long long)s->value.integer);
	return ga_fmt(pool, "%u %.*s", s->decl->index, (int)s->last->written.n, s->last->written.p);
}

/* The first to say it under that key keeps it. */
static void claim(struct gac_conf *conf, struct ga_diag *diag, struct gac_strmap *seen, struct ga_str key,
    struct gac_setting *s)
{
	const struct gac_setting *other = gac_strmap_get(seen, key);

	if (other == NULL) {
		gac_strmap_put(seen, key, s);
		return;
	}
	gac_diag_error_at(diag, s->last->nwords > 0 ? &s->last->words[0].pos : &s->last->name.pos,
	    "%s: `%.*s` is taken by %s (%s)", s->decl->field.p, (int)told(s->decl, s->last).n,
	    told(s->decl, s->last).p, gac_object_title(conf->pool, other->object), other->last->where);
}

static void check_unique(struct gac_conf *conf, struct ga_diag *diag, struct gac_strmap *seen,
    struct gac_setting *s)
{
	const struct ga_object *parent = s->object->parent == NULL ? conf->root : s->object->parent;
	struct ga_str key = unique_key(conf->pool, s);

	if (s->decl->unique && s->object == conf->any_ip)
		gac_diag_error_at(diag, &s->last->name.pos,
		    "%s is of one object alone: it cannot stand in ip_address *", s->decl->field.p);
	else if (s->decl->unique)
		claim(conf, diag, seen, key, s);
	else if (s->decl->unique_in_block)
		claim(conf, diag, seen, ga_fmt(conf->pool, "in %u %.*s", parent->index, (int)key.n, key.p), s);
}

/* ---- patterns: of a rule the value of `domains`, from here on like those of a domain block */

static bool has_mx(const struct ga_object *o)
{
	for (size_t i = 0; i < o->npatterns; i++)
		if (o->patterns[i].mx)
			return true;
	return false;
}

static void check_route(struct ga_diag *diag, const struct ga_object *o)
{
	if (!has_mx(o))
		return;
	for (size_t i = 0; i < o->nsettings; i++) {
		const struct gac_setting *s = o->settings[i];

		for (const struct gac_part *p = s->decl->route ? s->parts : NULL; p != NULL; p = p->next)
			gac_diag_error_at(diag, &p->stmt->name.pos, "%s decides the route, which is known only "
			    "before the MX hosts are: it cannot stand below an mx: pattern", s->decl->field.p);
	}
}

/* Who had a pattern first. */
struct holder {
	const struct ga_object *rule;
	const char *where;
};

/* One pattern of a rule: the first rule of the template that has it keeps it. */
static void hold(struct gac_conf *conf, struct ga_diag *diag, struct gac_strmap *held,
    const struct ga_object *rule, const struct gac_stmt *s, const struct gac_word *w, struct ga_str pattern)
{
	struct ga_str key = ga_fmt(conf->pool, "%u %.*s", rule->parent->index, (int)pattern.n, pattern.p);
	struct holder *first = gac_strmap_get(held, key);

	if (first == NULL) {
		first = ga_alloc(conf->pool, sizeof *first);
		*first = (struct holder){ rule, s->where };
		gac_strmap_put(held, key, first);
	} else if (first->rule != rule) {
		gac_diag_error_at(diag, &w->pos, "domains: `%.*s` is a domain of %s already (%s)", (int)pattern.n,
		    pattern.p, gac_object_title(conf->pool, first->rule), first->where);
	}
}

/* A pattern that does not parse was told of when the value was converted. */
static void take_patterns(struct gac_conf *conf, struct ga_diag *diag, struct gac_strmap *held,
    struct ga_object *rule, const struct gac_setting *domains)
{
	size_t n = domains->value.list.n;
	struct gac_pattern *v = ga_alloc(conf->pool, (n + 1) * sizeof *v);
	struct ga_str *texts = ga_alloc(conf->pool, (n + 1) * sizeof *texts);

	for (const struct gac_part *p = domains->parts; p != NULL; p = p->next) {
		for (size_t i = 0; i < p->stmt->nwords; i++) {
			struct gac_pattern *one = &v[rule->npatterns];

			if (gac_pattern_parse(conf->pool, p->stmt->words[i].text, one) != NULL)
				continue;
			hold(conf, diag, held, rule, p->stmt, &p->stmt->words[i], one->text);
			texts[rule->npatterns++] = one->text;
		}
	}
	rule->patterns = v;
	rule->pattern_texts = (struct ga_strlist){ texts, rule->npatterns };
}

static void check_patterns(struct gac_conf *conf, struct ga_diag *diag)
{
	const struct gac_decl *decl = gac_decl_find(conf, GAC_CORE_MODULE, "domains");
	struct gac_strmap held;

	gac_strmap_init(&held, conf->pool, false);
	for (uint32_t i = 0; i < conf->nobjects; i++) {
		struct ga_object *o = conf->objects[i];
		const struct gac_setting *domains = gac_object_setting(o, decl);

		if (domains != NULL)
			take_patterns(conf, diag, &held, o, domains);
		check_route(diag, o);
	}
}

/* ---- required */

static bool given(const struct gac_conf *conf, const struct gac_decl *d, const struct ga_object *o)
{
	const struct ga_object *chain[8];
	size_t n = 0;

	for (; o != NULL && n < 7; o = o->parent)
		chain[n++] = o;
	if (n > 0 && chain[n - 1]->context->virtual_mta && conf->any_ip != NULL)
		chain[n++] = conf->any_ip;
	return gac_lookup(conf, d, chain, n) != NULL || d->dflt[0] != '\0';
}

static void check_required(struct gac_conf *conf, struct ga_diag *diag, const struct gac_decl *d)
{
	const unsigned whole = GAC_CTX_BIT(GAC_CTX_TOP) | GAC_CTX_BIT(GAC_CTX_GENERAL) |
	    GAC_CTX_BIT(GAC_CTX_MODULE);

	if ((d->contexts & whole) != 0 && !given(conf, d, NULL))
		gac_diag_error_at(diag, conf->general->pos.line > 0 ? &conf->general->pos : &d->module->pos,
		    "%s is missing: module %s needs it in %s", d->field.p, d->module->name,
		    gac_context_names(conf->pool, d->contexts & whole));
	for (uint32_t i = 0; i < conf->nobjects; i++) {
		const struct ga_object *o = conf->objects[i];

		if ((GAC_CTX_BIT(o->context->id) & whole) != 0 || !gac_decl_stands_in(d, o) || o == conf->any_ip)
			continue;
		if (!given(conf, d, o))
			gac_diag_error_at(diag, &o->pos, "%s lacks %s", gac_object_title(conf->pool, o),
			    gac_decl_written(conf->pool, d, o).p);
	}
}

/* ---- use_module */

static bool word_in(const char *list, const char *word)
{
	struct ga_str rest = ga_str_c(list), w;

	while (gac_split(&rest, ' ', &w))
		if (ga_str_eq(w, ga_str_c(word)))
			return true;
	return false;
}

/* A module of scope domain runs for a VirtualMTA x domain: all three blocks decide. */
static bool may_switch(const struct gac_conf_module *m, const struct ga_object *o)
{
	if (m->manifest.scopes == NULL || word_in(m->manifest.scopes, o->context->name))
		return true;
	return o->context->id != GAC_CTX_SMTP_SERVICE && (word_in(m->manifest.scopes, "domain") ||
	    word_in(m->manifest.scopes, "ip_address"));
}

static void use_one(struct gac_conf *conf, struct ga_diag *diag, struct ga_object *o,
    const struct gac_word *name, const struct gac_word *on)
{
	const struct gac_conf_module *m = gac_conf_module_find(conf, name->text);
	struct gac_use *use = ga_alloc(conf->pool, sizeof *use);

	if (m == NULL || m->index == 0) {
		struct gac_nearest near;

		gac_nearest_init(&near, name->text);
		for (size_t i = 1; i < conf->nmodules; i++)
			gac_nearest_offer(&near, ga_str_c(conf->modules[i]->name));
		gac_diag_error_at(diag, &name->pos, "use_module: `%.*s` is not loaded: `load_module %.*s` is missing%s",
		    (int)name->text.n, name->text.p, (int)name->text.n, name->text.p,
		    gac_nearest_hint(&near, conf->pool));
		return;
	}
	if (!may_switch(m, o)) {
		gac_diag_error_at(diag, &name->pos, "use_module: `%s` has no hooks to switch in %s (its scopes: %s)",
		    m->name, gac_object_title(conf->pool, o), m->manifest.scopes);
		return;
	}
	use->module = m->index;
	use->on = ga_str_eq(on->text, GA_STR("yes"));
	use->next = o->uses;
	o->uses = use;
}

static void take_uses(struct gac_conf *conf, struct ga_diag *diag, struct ga_object *o,
    const struct gac_decl *use_module)
{
	const struct gac_setting *s = gac_object_setting(o, use_module);

	for (const struct gac_part *p = s == NULL ? NULL : s->parts; p != NULL; p = p->next)
		for (size_t i = 0; i + 1 < p->stmt->nwords; i += 2)
			if (p->stmt->words[i].item == p->stmt->words[i + 1].item)
				use_one(conf, diag, o, &p->stmt->words[i], &p->stmt->words[i + 1]);
}

void gac_rules_check(struct gac_conf *conf, struct ga_diag *diag)
{
	const struct gac_decl *use_module = gac_decl_find(conf, GAC_CORE_MODULE, "use_module");
	struct gac_strmap seen;

	gac_strmap_init(&seen, conf->pool, true);
	for (uint32_t i = 0; i < conf->nobjects; i++)
		convert_object(conf, diag, conf->objects[i]);
	check_patterns(conf, diag);
	for (uint32_t i = 0; i < conf->nobjects; i++) {
		struct ga_object *o = conf->objects[i];

		for (size_t j = 0; j < o->nsettings; j++) {
			if (o->settings[j]->decl->once)
				check_once(conf, diag, o->settings[j]);
			check_unique(conf, diag, &seen, o->settings[j]);
		}
		take_uses(conf, diag, o, use_module);
	}
	for (size_t i = 0; i < conf->ndecls; i++)
		if (conf->decls[i]->required)
			check_required(conf, diag, conf->decls[i]);
}
