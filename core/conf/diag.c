/*
 * diag.c - what is wrong with a configuration: collected, then printed in order
 *
 * Used by the parser, the checker, the loader and, through ga_diag_error() and
 * ga_diag_warn(), by the check() function of modules.  One thread at a time.
 * Reports are sorted when they are asked for: by file in the order of opening,
 * then line, then column, then order of discovery.  The same message at the
 * same place is kept once (a block of two names is checked twice).
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/diag.h"

struct entry {
	struct gac_report report;
	size_t order;
};

struct ga_diag {
	struct ga_pool *pool;
	struct entry *entries;
	size_t n, room;
	struct gac_report *sorted;
	size_t errors, warnings;
	gac_diag_locate_fn *locate;
	void *locate_arg;
	struct gac_pos whole;
	const char *module;
};

struct ga_diag *gac_diag_new(void)
{
	struct ga_diag *d = ga_xcalloc(1, sizeof *d);

	d->pool = ga_pool_new(0);
	return d;
}

void gac_diag_free(struct ga_diag *d)
{
	if (d == NULL)
		return;
	ga_pool_free(d->pool);
	free(d->entries);
	free(d->sorted);
	free(d);
}

static struct gac_pos keep_pos(struct ga_diag *d, const struct gac_pos *pos)
{
	struct gac_pos mine = { NULL, 0, 0 };
	struct gac_file *file;

	if (pos == NULL || pos->file == NULL)
		return mine;
	mine = *pos;
	if (d->n > 0) {
		const struct gac_file *last = d->entries[d->n - 1].report.pos.file;

		if (last != NULL && last->index == pos->file->index &&
		    strcmp(last->name, pos->file->name) == 0) {
			mine.file = last;
			return mine;
		}
	}
	file = ga_alloc(d->pool, sizeof *file);
	file->index = pos->file->index;
	file->name = ga_dup(d->pool, ga_str_c(pos->file->name)).p;
	mine.file = file;
	return mine;
}

static void add(struct ga_diag *d, bool error, const struct gac_pos *pos, const char *prefix,
    const char *fmt, va_list ap)
{
	struct gac_pos mine = keep_pos(d, pos);
	char text[1024];

	vsnprintf(text, sizeof text, fmt, ap);
	if (d->n == d->room) {
		d->room = d->room == 0 ? 16 : d->room * 2;
		d->entries = ga_xrealloc(d->entries, d->room * sizeof *d->entries);
	}
	d->entries[d->n] = (struct entry){
		.report = { mine, error, ga_fmt(d->pool, "%s%s", prefix, text).p },
		.order = d->n,
	};
	d->n++;
	if (error)
		d->errors++;
	else
		d->warnings++;
}

void gac_diag_error_at(struct ga_diag *d, const struct gac_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(d, true, pos, "", fmt, ap);
	va_end(ap);
}

void gac_diag_warn_at(struct ga_diag *d, const struct gac_pos *pos, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add(d, false, pos, "", fmt, ap);
	va_end(ap);
}

void gac_diag_scope(struct ga_diag *d, gac_diag_locate_fn *locate, void *arg,
    const struct gac_pos *whole, const char *module)
{
	d->locate = locate;
	d->locate_arg = arg;
	d->whole = whole == NULL ? (struct gac_pos){ NULL, 0, 0 } : *whole;
	d->module = module;
}

/* A module speaks of its directive by name: find the place, put the name in front. */
static void add_by_name(struct ga_diag *d, bool error, const char *directive, const char *fmt,
    va_list ap)
{
	struct gac_pos pos = d->whole;
	char prefix[160] = "";

	if (directive != NULL && d->locate != NULL)
		d->locate(d->locate_arg, directive, &pos);
	if (directive != NULL)
		snprintf(prefix, sizeof prefix, "%s: ", directive);
	else if (d->module != NULL)
		snprintf(prefix, sizeof prefix, "module %s: ", d->module);
	add(d, error, &pos, prefix, fmt, ap);
}

void ga_diag_error(struct ga_diag *d, const char *directive, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_by_name(d, true, directive, fmt, ap);
	va_end(ap);
}

void ga_diag_warn(struct ga_diag *d, const char *directive, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_by_name(d, false, directive, fmt, ap);
	va_end(ap);
}

/* Behind the files of the configuration, the reports of one file together. */
static void add_in_file(struct ga_diag *d, bool error, const char *name, unsigned line,
    unsigned column, const char *fmt, va_list ap)
{
	struct gac_file file = { name, 0x40000000u | ga_str_hash(ga_str_c(name), false) >> 2 };
	struct gac_pos pos = { &file, line, column };

	add(d, error, &pos, "", fmt, ap);
}

void ga_diag_error_at(struct ga_diag *d, const char *file, unsigned line, unsigned column,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_in_file(d, true, file, line, column, fmt, ap);
	va_end(ap);
}

void ga_diag_warn_at(struct ga_diag *d, const char *file, unsigned line, unsigned column,
    const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	add_in_file(d, false, file, line, column, fmt, ap);
	va_end(ap);
}

size_t gac_diag_errors(const struct ga_diag *d)
{
	return d->errors;
}

size_t gac_diag_warnings(const struct ga_diag *d)
{
	return d->warnings;
}

static int three_way(size_t a, size_t b)
{
	return (a > b) - (a < b);
}

static int by_place(const void *va, const void *vb)
{
	const struct entry *a = va, *b = vb;
	const struct gac_pos *p = &a->report.pos, *q = &b->report.pos;
	int c = three_way(p->file == NULL ? 0 : p->file->index + 1u,
	    q->file == NULL ? 0 : q->file->index + 1u);

	if (c == 0)
		c = three_way(p->line, q->line);
	if (c == 0)
		c = three_way(p->column, q->column);
	return c != 0 ? c : three_way(a->order, b->order);
}

static bool same_report(const struct gac_report *a, const struct gac_report *b)
{
	return a->pos.line == b->pos.line && a->pos.column == b->pos.column &&
	    a->error == b->error && strcmp(a->message, b->message) == 0 &&
	    (a->pos.file == NULL) == (b->pos.file == NULL) &&
	    (a->pos.file == NULL || a->pos.file->index == b->pos.file->index);
}

size_t gac_diag_reports(struct ga_diag *d, const struct gac_report **out)
{
	size_t n = 0;

	*out = NULL;
	if (d->n == 0)
		return 0;
	qsort(d->entries, d->n, sizeof *d->entries, by_place);
	d->sorted = ga_xrealloc(d->sorted, d->n * sizeof *d->sorted);
	for (size_t i = 0; i < d->n; i++) {
		if (n > 0 && same_report(&d->sorted[n - 1], &d->entries[i].report))
			continue;
		d->sorted[n++] = d->entries[i].report;
	}
	*out = d->sorted;
	return n;
}

void gac_diag_print(struct ga_diag *d, FILE *to)
{
	const struct gac_report *r;
	size_t n = gac_diag_reports(d, &r);

	for (size_t i = 0; i < n; i++) {
		if (r[i].pos.file != NULL)
			fprintf(to, "%s:", r[i].pos.file->name);
		if (r[i].pos.file != NULL && r[i].pos.line > 0)
			fprintf(to, "%u:%u:", r[i].pos.line, r[i].pos.column);
		if (r[i].pos.file != NULL)
			fputc(' ', to);
		fprintf(to, "%s%s\n", r[i].error ? "" : "warning: ", r[i].message);
	}
}
