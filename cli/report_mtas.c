/*
 * report_mtas.c - names of VirtualMTAs and their numbers: see report.h.
 *
 * Delivery logs have numbers, people know names.  The configuration is only looked at for blocks
 * with an mta_id, not checked: a report is to be had also when a line of it is wrong by now.  A
 * VirtualMTA without an mta_id is known by the number that the daemon made for it alone.
 */
#include "config.h"

#include <stdio.h>

#include "conf/conf_tree.h"
#include "report.h"

struct mta {
	const char *name, *number;
};

struct report_mtas {
	struct mta *v;
	size_t n, room;
};

static bool
is_mta(const struct gac_stmt *s)
{
	struct ga_str name = s->name.text;

	return s->block && (ga_str_eq(name, GA_STR("ip_address")) || ga_str_eq(name, GA_STR("relay_server")) ||
	    ga_str_eq(name, GA_STR("routing_rule")));
}

static const struct gac_word *
mta_id(const struct gac_stmt *block)
{
	for (const struct gac_stmt *s = block->children; s != NULL; s = s->next)
		if (!s->block && s->nwords == 1 && ga_str_eq(s->name.text, GA_STR("mta_id")))
			return &s->words[0];
	return NULL;
}

static void
add(struct ga_pool *pool, struct report_mtas *m, struct ga_str name, struct ga_str number)
{
	if (m->n == m->room) {
		struct mta *more = ga_alloc(pool, (2 * m->room + 16) * sizeof *more);

		for (size_t i = 0; i < m->n; i++)
			more[i] = m->v[i];
		m->v = more;
		m->room = 2 * m->room + 16;
	}
	m->v[m->n++] = (struct mta){ ga_dup(pool, name).p, ga_dup(pool, number).p };
}

struct report_mtas *
report_mtas_read(struct ga_pool *pool, const char *file)
{
	struct report_mtas *m = ga_alloc(pool, sizeof *m);
	struct ga_diag *diag = gac_diag_new();
	struct gac_tree tree;

	gac_tree_init(&tree, pool, diag);
	gac_tree_read(&tree, file);
	for (const struct gac_stmt *s = tree.top.first; s != NULL; s = s->next) {
		const struct gac_word *id = is_mta(s) ? mta_id(s) : NULL;

		if (id != NULL && s->nwords == 1)
			add(pool, m, s->words[0].text, id->text);
	}
	gac_diag_free(diag);
	return m;
}

const char *
report_mtas_number(const struct report_mtas *m, const char *name)
{
	for (size_t i = 0; i < m->n; i++)
		if (ga_str_caseeq(ga_str_c(m->v[i].name), ga_str_c(name)))
			return m->v[i].number;
	return NULL;
}

const char *
report_mtas_name(const struct report_mtas *m, struct ga_str number)
{
	for (size_t i = 0; i < m->n; i++)
		if (ga_str_eq(ga_str_c(m->v[i].number), number))
			return m->v[i].name;
	return NULL;
}
