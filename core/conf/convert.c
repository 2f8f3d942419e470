/*
 * convert.c - the values of a setting: words checked and turned into C
 *
 * One function a shape of value (one word, a list, one run of words, a table of
 * words), shared by what the operator wrote and by the defaults of schemas.
 * Runs after all objects are known, so that references can be followed; one
 * thread.  Results live in the configuration's pool.
 */
#include <string.h>

#include "conf/conf_tree.h"
#include "conf/nearest.h"

struct conv {
	const struct gac_conf *conf;
	struct ga_diag *diag;
	const struct gac_decl *decl;
	struct ga_str name;		/* as the statement calls it */
	bool ok;
};

static void refuse(struct conv *c, const struct gac_word *w, const char *why, const char *hint)
{
	c->ok = false;
	if (c->decl->type == GAC_T_SECRET)
		gac_diag_error_at(c->diag, &w->pos, "%.*s: the value %s", (int)c->name.n, c->name.p, why);
	else
		gac_diag_error_at(c->diag, &w->pos, "%.*s: `%.*s` %s%s", (int)c->name.n, c->name.p,
		    (int)w->text.n, w->text.p, why, hint);
}

static void check_reference(struct conv *c, const struct gac_is *is, const struct gac_word *w)
{
	struct gac_nearest near;
	unsigned bits = is->contexts;

	if (gac_object_find(c->conf, bits, w->text) != NULL)
		return;
	gac_nearest_init(&near, w->text);
	for (uint32_t i = 0; i < c->conf->nobjects; i++) {
		const struct ga_object *o = c->conf->objects[i];

		if ((GAC_CTX_BIT(o->context->id) & bits) != 0 && o->parent == NULL)
			gac_nearest_offer(&near, o->name);
	}
	refuse(c, w, ga_fmt(c->conf->pool, "is not defined: there is no %s of that name",
	    gac_context_names(c->conf->pool, bits)).p, gac_nearest_hint(&near, c->conf->pool));
}

/* The i-th word against `is=`; the last kind holds for all further words. */
static struct ga_str check_is(struct conv *c, const struct gac_word *w, size_t i)
{
	const struct gac_kind_env env = { c->conf->pool, c->conf->control_directory, c->conf->files };
	const struct gac_decl *d = c->decl;
	struct ga_str s = w->text;
	const struct gac_is *is;
	const char *why;

	if (d->nis == 0)
		return ga_dup(c->conf->pool, s);
	is = &d->is[i < d->nis ? i : d->nis - 1];
	if (is->kind == NULL) {
		check_reference(c, is, w);
	} else {
		why = is->kind->check(&env, &s);
		if (why != NULL)
			refuse(c, w, why, "");
	}
	return ga_dup(c->conf->pool, s);
}

static void check_bounds(struct conv *c, const struct gac_word *w, const union gac_typed *v)
{
	const struct gac_decl *d = c->decl;
	bool text = d->type == GAC_T_STRING || d->type == GAC_T_SECRET;

	if (text && d->has_min && d->min.integer == 1 && v->str.n == 0)
		refuse(c, w, "is empty", "");
	else if (text && d->has_min && (int64_t)v->str.n < d->min.integer)
		refuse(c, w, ga_fmt(c->conf->pool, "is shorter than %s characters", d->min_text).p, "");
	else if (text && d->has_max && (int64_t)v->str.n > d->max.integer)
		refuse(c, w, ga_fmt(c->conf->pool, "is longer than %s characters", d->max_text).p, "");
	else if (!text && d->has_min && gac_value_compare(d->type, v, &d->min) < 0)
		refuse(c, w, ga_fmt(c->conf->pool, "is less than %s", d->min_text).p, "");
	else if (!text && d->has_max && gac_value_compare(d->type, v, &d->max) > 0)
		refuse(c, w, ga_fmt(c->conf->pool, "is more than %s", d->max_text).p, "");
}

static void choose(struct conv *c, const struct gac_word *w, union gac_typed *v)
{
	const struct gac_decl *d = c->decl;
	struct ga_str all = GA_STR("");
	struct gac_nearest near;

	gac_nearest_init(&near, w->text);
	for (size_t i = 0; i < d->nchoices; i++) {
		if (ga_str_eq(w->text, d->choices[i])) {
			v->choice = (unsigned)i;
			return;
		}
		gac_nearest_offer(&near, d->choices[i]);
		all = ga_fmt(c->conf->pool, "%.*s%s%.*s", (int)all.n, all.p,
		    i == 0 ? "" : i + 1 == d->nchoices ? " or " : ", ",
		    (int)d->choices[i].n, d->choices[i].p);
	}
	refuse(c, w, ga_fmt(c->conf->pool, "is not one of %.*s", (int)all.n, all.p).p,
	    gac_nearest_hint(&near, c->conf->pool));
}

static void one_word(struct conv *c, const struct gac_stmt *s, union gac_typed *v)
{
	const struct gac_kind_env env = { c->conf->pool, c->conf->control_directory, c->conf->files };
	const struct gac_decl *d = c->decl;
	const struct gac_word *w = &s->words[0];
	const char *why = NULL;

	if (s->nwords > 1) {
		c->ok = false;
		gac_diag_error_at(c->diag, &s->words[1].pos, "%.*s takes one value", (int)c->name.n, c->name.p);
		return;
	}
	switch (d->type) {
	case GAC_T_CHOICE:
		choose(c, w, v);
		return;
	case GAC_T_PATH:
		v->str = d->nis > 0 ? check_is(c, w, 0) : gac_path_absolute(&env, w->text);
		return;
	case GAC_T_STRING:
	case GAC_T_SECRET:
		v->str = check_is(c, w, 0);
		break;
	default:
		why = gac_value_parse(c->conf->pool, d->type, w->text, v);
	}
	if (why != NULL)
		refuse(c, w, why, "");
	else if (c->ok)
		check_bounds(c, w, v);
}

static void list_of(struct conv *c, const struct gac_part *parts, union gac_typed *v)
{
	size_t n = 0, at = 0;
	struct ga_str *items;

	for (const struct gac_part *p = parts; p != NULL; p = p->next)
		n += p->stmt->nwords;
	items = ga_alloc(c->conf->pool, (n + 1) * sizeof *items);
	for (const struct gac_part *p = parts; p != NULL; p = p->next)
		for (size_t i = 0; i < p->stmt->nwords; i++)
			items[at++] = check_is(c, &p->stmt->words[i], 0);
	v->list = (ga_c_list){ items, n };
}

static const char *words_wanted(struct ga_pool *pool, const struct gac_decl *d)
{
	if (d->words_min == d->words_max)
		return ga_fmt(pool, "%u value%s", d->words_min, d->words_min == 1 ? "" : "s").p;
	if (d->words_max >= 1000)
		return ga_fmt(pool, "%u or more values", d->words_min).p;
	return ga_fmt(pool, "%u to %u values", d->words_min, d->words_max).p;
}

/* n words from `first` on: one item of a table, or the whole of a `words`. */
static struct ga_strlist run_of(struct conv *c, const struct gac_word *first, size_t n)
{
	const struct gac_decl *d = c->decl;
	struct ga_str *v = ga_alloc(c->conf->pool, (n + 1) * sizeof *v);

	if (n < d->words_min || n > d->words_max) {
		c->ok = false;
		gac_diag_error_at(c->diag, n > d->words_max ? &first[d->words_max].pos : &first->pos,
		    "%.*s takes %s, here are %zu", (int)c->name.n, c->name.p, words_wanted(c->conf->pool, d), n);
	}
	for (size_t i = 0; i < n; i++)
		v[i] = check_is(c, &first[i], i);
	return (struct ga_strlist){ v, n };
}

static void table_of(struct conv *c, const struct gac_part *parts, union gac_typed *v)
{
	size_t n = 0, at = 0;
	struct ga_strlist *rows;

	for (const struct gac_part *p = parts; p != NULL; p = p->next)
		n += p->stmt->nitems;
	rows = ga_alloc(c->conf->pool, (n + 1) * sizeof *rows);
	for (const struct gac_part *p = parts; p != NULL; p = p->next) {
		const struct gac_stmt *s = p->stmt;

		for (size_t i = 0, end; i < s->nwords; i = end) {
			for (end = i + 1; end < s->nwords && s->words[end].item == s->words[i].item; end++)
				;
			rows[at++] = run_of(c, &s->words[i], end - i);
		}
	}
	v->table = (ga_c_table){ rows, n };
}

static void words_of(struct conv *c, const struct gac_stmt *s, union gac_typed *v)
{
	for (size_t i = 1; i < s->nwords; i++) {
		if (s->words[i].item == 0)
			continue;
		c->ok = false;
		gac_diag_error_at(c->diag, &s->words[i].pos, "%.*s takes one set of values: no comma here",
		    (int)c->name.n, c->name.p);
		return;
	}
	v->list = run_of(c, s->words, s->nwords);
}

bool gac_convert(const struct gac_conf *conf, struct ga_diag *diag, const struct gac_decl *decl,
    const struct gac_part *parts, union gac_typed *v)
{
	struct conv c = { conf, diag, decl, parts->stmt->name.text, true };
	const struct gac_part *last = parts;

	memset(v, 0, sizeof *v);
	for (const struct gac_part *p = parts; p != NULL; p = p->next) {
		last = p;
		if (p->stmt->nwords > 0)
			continue;
		c.ok = false;
		gac_diag_error_at(diag, &p->stmt->name.pos, "%.*s needs a value", (int)c.name.n, c.name.p);
	}
	if (!c.ok)
		return false;
	switch (decl->type) {
	case GAC_T_LIST:
		list_of(&c, parts, v);
		break;
	case GAC_T_TABLE:
		table_of(&c, parts, v);
		break;
	case GAC_T_WORDS:
		/* An earlier statement is overruled, but a mistake in it is still one. */
		for (const struct gac_part *p = parts; p != NULL; p = p->next)
			words_of(&c, p->stmt, v);
		break;
	default:
		for (const struct gac_part *p = parts; p != NULL; p = p->next)
			one_word(&c, p->stmt, v);
	}
	return c.ok && last != NULL;
}

/*
 * A default that does not parse is the module's mistake, shown at its
 * load_module line.  Whether a default file exists is not asked here.
 */
void gac_convert_default(const struct gac_conf *conf, struct ga_diag *diag, struct gac_decl *d)
{
	static const struct gac_file nowhere = { "default", 0 };
	struct ga_diag *own = gac_diag_new();
	struct gac_conf blind = *conf;
	struct gac_stmt stmt;
	const struct gac_part part = { NULL, &stmt };
	const struct gac_report *r;

	blind.files = false;
	memset(&d->dvalue, 0, sizeof d->dvalue);
	gac_tree_values(conf->pool, own, &nowhere, ga_str_c(d->dflt), &stmt);
	stmt.name.text = d->field;
	if (stmt.nwords > 0)
		gac_convert(&blind, own, d, &part, &d->dvalue);
	if (gac_diag_reports(own, &r) > 0)
		gac_diag_error_at(diag, &d->module->pos, "module %s: its table of directives is wrong: default of %s",
		    d->module->name, r[0].message);
	gac_diag_free(own);
}
