/*
 * schema.c - a module's table of directives, read from its text
 *
 * Called for the core's own table and for each loaded module, by
 * gac_conf_load(); one thread.  The text comes out of a file that we have not
 * run, so nothing in it is believed: a bad line is reported and left out.
 */
#include <string.h>

#include "conf/context.h"
#include "conf/schema.h"

struct reader {
	struct ga_pool *pool;
	struct ga_diag *diag;
	const struct gac_pos *pos;
	const char *module;
};

bool gac_split(struct ga_str *s, char sep, struct ga_str *field)
{
	const char *at;

	if (s->p == NULL)
		return false;
	at = s->n == 0 ? NULL : memchr(s->p, sep, s->n);
	*field = (struct ga_str){ s->p, at == NULL ? s->n : (size_t)(at - s->p) };
	if (at == NULL) {
		*s = (struct ga_str){ NULL, 0 };
	} else {
		s->n -= field->n + 1;
		s->p = at + 1;
	}
	return true;
}

bool gac_decl_accumulates(const struct gac_decl *d)
{
	return d->type == GAC_T_LIST || d->type == GAC_T_TABLE;
}

bool gac_decl_in_template(const struct gac_decl *d)
{
	return (d->contexts & GAC_CTX_BIT(GAC_CTX_THROTTLE_TEMPLATE)) != 0;
}

bool gac_decl_of_routing_rules(const struct gac_decl *d)
{
	return d->contexts == (GAC_CTX_BIT(GAC_CTX_ROUTING_RULE) | GAC_CTX_BIT(GAC_CTX_DOMAIN));
}

static bool bad(const struct reader *r, struct ga_str field, const char *what, struct ga_str value)
{
	gac_diag_error_at(r->diag, r->pos, "module %s: its table of directives is wrong: %.*s: %s `%.*s`",
	    r->module, (int)field.n, field.p, what, (int)value.n, value.p);
	return false;
}

static bool read_contexts(const struct reader *r, struct gac_decl *d, struct ga_str list)
{
	struct ga_str name;

	while (gac_split(&list, ',', &name)) {
		const struct gac_context *c;

		name = ga_str_trim(name);
		if (ga_str_eq(name, GA_STR("top"))) {
			d->contexts |= GAC_CTX_BIT(GAC_CTX_TOP);
			continue;
		}
		c = gac_context_find(name);
		if (c == NULL)
			return bad(r, d->field, "unknown context", name);
		d->contexts |= GAC_CTX_BIT(c->id);
	}
	return true;
}

static bool read_bound(const struct reader *r, struct gac_decl *d, struct ga_str text, bool is_min)
{
	union gac_typed *v = is_min ? &d->min : &d->max;
	enum gac_type type = d->type == GAC_T_STRING || d->type == GAC_T_SECRET ? GAC_T_INT : d->type;

	if (gac_value_parse(r->pool, type, text, v) != NULL)
		return bad(r, d->field, "bad bound", text);
	if (is_min) {
		d->has_min = true;
		d->min_text = ga_dup(r->pool, text).p;
	} else {
		d->has_max = true;
		d->max_text = ga_dup(r->pool, text).p;
	}
	return true;
}

static size_t count(struct ga_str s, char sep)
{
	size_t n = 1;

	for (size_t i = 0; i < s.n; i++)
		n += s.p[i] == sep;
	return n;
}

static void read_choices(const struct reader *r, struct gac_decl *d, struct ga_str list)
{
	struct ga_str *v = ga_alloc(r->pool, count(list, '|') * sizeof *v), word;

	while (gac_split(&list, '|', &word))
		v[d->nchoices++] = ga_dup(r->pool, word);
	d->choices = v;
}

static unsigned reference_bits(struct ga_str name)
{
	const struct gac_context *c = gac_context_find(name);
	unsigned bits = 0;

	if (c != NULL)
		return GAC_CTX_BIT(c->id);
	if (ga_str_eq(name, GA_STR("virtual_mta")))
		for (int i = 0; i < GAC_NCONTEXTS; i++)
			if (gac_contexts[i].virtual_mta)
				bits |= GAC_CTX_BIT(i);
	return bits;
}

static bool read_is(const struct reader *r, struct gac_decl *d, struct ga_str list)
{
	struct gac_is *v = ga_alloc(r->pool, count(list, ',') * sizeof *v);
	struct ga_str name;

	while (gac_split(&list, ',', &name)) {
		struct gac_is *is = &v[d->nis];

		is->name = ga_dup(r->pool, name).p;
		is->kind = gac_kind_find(name);
		is->contexts = is->kind != NULL ? 0 : reference_bits(name);
		if (is->kind == NULL && is->contexts == 0)
			return bad(r, d->field, "unknown kind", name);
		d->nis++;
	}
	d->is = v;
	return true;
}

static bool read_words(const struct reader *r, struct gac_decl *d, struct ga_str text)
{
	struct ga_str rest = text, lo, hi;
	int64_t a = 0, b = 0;

	gac_split(&rest, '-', &lo);
	if (!gac_split(&rest, '-', &hi))
		hi = lo;
	if (gac_value_int(lo, &a) != NULL || a < 0 || a > 1000 ||
	    (hi.n > 0 && (gac_value_int(hi, &b) != NULL || b < a || b > 1000)))
		return bad(r, d->field, "bad count of words", text);
	d->words_min = (unsigned)a;
	d->words_max = hi.n == 0 ? 1000 : (unsigned)b;
	return true;
}

static bool read_constraint(const struct reader *r, struct gac_decl *d, struct ga_str word)
{
	const struct {
		const char *name;
		bool *set;
	} flags[] = {
		{ "required", &d->required }, { "repeat", &d->repeat }, { "route", &d->route },
		{ "restart", &d->restart }, { "unique", &d->unique }, { "once", &d->once },
		{ "unique_in_block", &d->unique_in_block },
	};
	struct ga_str key, rest = word;

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++)
		if (ga_str_eq(word, ga_str_c(flags[i].name)))
			return *flags[i].set = true;
	gac_split(&rest, '=', &key);
	if (rest.p == NULL)
		return bad(r, d->field, "unknown constraint", word);
	if (ga_str_eq(key, GA_STR("min")) || ga_str_eq(key, GA_STR("max")))
		return read_bound(r, d, rest, ga_str_eq(key, GA_STR("min")));
	if (ga_str_eq(key, GA_STR("is")))
		return read_is(r, d, rest);
	if (ga_str_eq(key, GA_STR("words")))
		return read_words(r, d, rest);
	if (!ga_str_eq(key, GA_STR("oneof")))
		return bad(r, d->field, "unknown constraint", word);
	read_choices(r, d, rest);
	return true;
}

static bool read_line(const struct reader *r, struct ga_str line, struct gac_decl *d)
{
	struct ga_str col[6], rest = line, word;
	int type;

	for (int i = 0; i < 6; i++)
		if (!gac_split(&rest, '\t', &col[i]))
			return bad(r, GA_STR("six columns are expected"), "found", line);
	d->field = ga_dup(r->pool, col[0]);
	type = gac_type_find(col[1]);
	if (d->field.n == 0 || type < 0)
		return bad(r, d->field, "unknown type", col[1]);
	d->type = (enum gac_type)type;
	d->dflt = ga_dup(r->pool, col[2]).p;
	d->constraint = ga_dup(r->pool, col[3]).p;
	d->help = ga_dup(r->pool, col[5]).p;
	d->words_min = 1;
	d->words_max = type == GAC_T_WORDS || type == GAC_T_TABLE ? 1000 : 1;
	for (rest = col[3]; gac_split(&rest, ' ', &word);)
		if (word.n > 0 && !read_constraint(r, d, word))
			return false;
	if (type == GAC_T_CHOICE && d->nchoices == 0)
		return bad(r, d->field, "a choice without", GA_STR("oneof="));
	return read_contexts(r, d, col[4]);
}

struct gac_decl *gac_schema_read(struct ga_pool *pool, struct ga_diag *diag,
    const struct gac_pos *pos, const struct gac_conf_module *module, const char *module_name,
    struct ga_str text, size_t *n)
{
	const struct reader r = { pool, diag, pos, module_name };
	struct gac_decl *v = ga_alloc(pool, (count(text, '\n') + 1) * sizeof *v);
	struct ga_str line;

	*n = 0;
	while (gac_split(&text, '\n', &line)) {
		struct gac_decl d = { .module = module };

		if (line.n > 0 && read_line(&r, line, &d))
			v[(*n)++] = d;
	}
	return v;
}
