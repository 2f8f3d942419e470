/*
 * environment.c - see environment.h.  Called by access.c at start, at a reload and by
 * greenarrow_config validate.
 */
#include <stdlib.h>
#include <string.h>

#include "environment.h"

#define ENVIRONMENT_MAX (1u << 20)

struct line {
	struct ga_pool *pool;
	const char *p, *end, *begin;
	unsigned number;
	const char *fault;		/* NULL: none */
};

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static void
skip_blanks(struct line *l)
{
	while (l->p < l->end && is_blank(*l->p))
		l->p++;
}

static bool
at_end(struct line *l)
{
	skip_blanks(l);
	return l->p == l->end || *l->p == '#';
}

static bool
is_name(char c, bool first)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static struct ga_str
take_name(struct line *l)
{
	const char *begin = l->p;

	while (l->p < l->end && is_name(*l->p, l->p == begin))
		l->p++;
	return (struct ga_str){ begin, (size_t)(l->p - begin) };
}

/* Within a value: up to the quote that ends it, or a blank.  Appends to value. */
static void
take_part(struct line *l, char *value, size_t *n)
{
	char quote = *l->p == '\'' || *l->p == '"' ? *l->p++ : '\0';

	while (l->p < l->end && *l->p != quote && (quote != '\0' || (!is_blank(*l->p) && *l->p != '\'' && *l->p != '"'))) {
		if (quote != '\'' && (*l->p == '$' || *l->p == '`' ||
		    (quote == '\0' && strchr(";&|<>()\\*?[~!{", *l->p) != NULL))) {
			l->fault = "a shell would expand or run this; values are only read: put it in 'quotes'";
			return;
		}
		if (quote == '"' && *l->p == '\\' && l->p + 1 < l->end && strchr("\"\\$`", l->p[1]) != NULL)
			l->p++;
		value[(*n)++] = *l->p++;
	}
	if (quote == '\0')
		return;
	if (l->p == l->end)
		l->fault = "a quote without its end";
	else
		l->p++;
}

static struct ga_str
take_value(struct line *l)
{
	char *value = ga_alloc(l->pool, (size_t)(l->end - l->p) + 1);
	size_t n = 0;

	while (l->p < l->end && !is_blank(*l->p) && l->fault == NULL)
		take_part(l, value, &n);
	return (struct ga_str){ value, n };
}

static void
take_variable(struct line *l, struct smtpd_variable *v)
{
	v->name = take_name(l);
	if (ga_str_eq(v->name, GA_STR("export")) && l->p < l->end && is_blank(*l->p)) {
		v->exported = true;
		skip_blanks(l);
		v->name = take_name(l);
	}
	if (v->name.n == 0 || l->p == l->end || *l->p != '=') {
		l->fault = "not NAME=value or export NAME=value";
		return;
	}
	l->p++;
	v->line = l->number;
	v->column = (unsigned)(l->p - l->begin) + 1;
	v->value = take_value(l);
	if (l->fault == NULL && !at_end(l))
		l->fault = "more than one word: put the value in 'quotes'";
}

static bool
printable(struct line *l)
{
	for (const char *p = l->p; p < l->end; p++)
		if (((unsigned char)*p < ' ' && *p != '\t') || *p == 127) {
			l->p = p;
			l->fault = "a control character";
			return false;
		}
	return true;
}

/* True: *v is one. */
static bool
take_line(struct line *l, struct smtpd_variable **v)
{
	if (l->p < l->end && l->end[-1] == '\r')
		l->end--;
	if (at_end(l) || !printable(l))
		return false;
	*v = ga_alloc(l->pool, sizeof **v);
	take_variable(l, *v);
	return l->fault == NULL;
}

/* A shell goes on exporting what it has exported. */
static bool
was_exported(const struct smtpd_environment *e, struct ga_str name)
{
	const struct smtpd_variable *v = e->first;

	while (v != NULL && !(v->exported && ga_str_eq(v->name, name)))
		v = v->next;
	return v != NULL;
}

bool
smtpd_environment_read(struct ga_pool *pool, const char *path, struct smtpd_environment *e,
    smtpd_fault_fn *fault, void *arg, int *error)
{
	struct smtpd_file f = smtpd_file_read(path, ENVIRONMENT_MAX);
	struct smtpd_variable **last = &e->first, *v;
	struct line l = { .pool = pool };
	struct ga_str text;

	*error = f.error;
	if (f.text == NULL)
		return false;
	text = ga_dup(pool, (struct ga_str){ f.text, f.size });
	free(f.text);
	for (const char *p = text.p; p < text.p + text.n; p = l.end + 1) {
		const char *lf = memchr(p, '\n', (size_t)(text.p + text.n - p));

		l.begin = l.p = p;
		l.end = lf != NULL ? lf : text.p + text.n;
		l.number++;
		l.fault = NULL;
		if (take_line(&l, &v)) {
			v->exported = v->exported || was_exported(e, v->name);
			*last = v;
			last = &v->next;
		} else if (l.fault != NULL) {
			fault(arg, l.number, (unsigned)(l.p - p) + 1, true, l.fault);
		}
		l.end = lf != NULL ? lf : text.p + text.n;
	}
	return true;
}

const struct smtpd_variable *
smtpd_environment_get(const struct smtpd_environment *e, const char *name)
{
	const struct smtpd_variable *found = NULL;

	for (const struct smtpd_variable *v = e->first; v != NULL; v = v->next)
		if (ga_str_eq(v->name, ga_str_c(name)))
			found = v;
	return found;
}
