/*
 * gone.c - after a reload: how much mail names a VirtualMTA that is no more.
 *
 * Each loop counts its envelopes by the name that their message carries while it looks at all
 * of them anyway (queue.c look_at_all()), and gives the main loop those that the router does
 * not know.  The main loop adds up and says each once.
 */
#include <stdlib.h>
#include <string.h>

#include "queue.h"

struct gone {
	struct ga_post post;
	uint64_t snapshot;		/* number of the one that was asked */
	unsigned n;
	struct { struct ga_str name; uint64_t envelopes; } v[GA_FLEXIBLE];
};

struct sum {
	UT_hash_handle hh;
	uint64_t envelopes;
	size_t n;
	char name[GA_FLEXIBLE];
};

/* Main loop: of the newest reload that a loop has told of. */
static struct sum *sums;
static uint64_t summed;
static unsigned told;

void
q_gone_begin(struct q_loop *l)
{
	free(l->named);
	l->named_room = l->names_room;
	l->named = ga_xcalloc(l->named_room + 1u, sizeof *l->named);
}

void
q_gone_count(struct q_loop *l, uint32_t envelope)
{
	const struct q_envelope *e = q_envelope(l, envelope);
	uint32_t name;

	if (l->named == NULL || e->state == Q_FREE || e->state == Q_ENDED)
		return;
	name = q_message(l, e->message)->virtual_mta;
	if (name < l->named_room)
		l->named[name]++;
}

static void
forget(void)
{
	struct sum *s, *tmp;

	HASH_ITER(hh, sums, s, tmp) {
		HASH_DEL(sums, s);
		free(s);
	}
}

static void
add(struct ga_str name, uint64_t envelopes)
{
	struct sum *s;

	HASH_FIND(hh, sums, name.p, name.n, s);
	if (s == NULL) {
		s = ga_xcalloc(1, sizeof *s + name.n);
		s->n = name.n;
		memcpy(s->name, name.p, name.n);
		HASH_ADD_KEYPTR(hh, sums, s->name, s->n, s);
	}
	s->envelopes += envelopes;
}

static void
say_all(void)
{
	for (const struct sum *s = sums; s != NULL; s = s->hh.next)
		ga_log(q_inst, GA_WARN, "GA-QUE-0007",
		    "there is no VirtualMTA \"%.*s\" any more: %llu envelopes go through the default",
		    (int)s->n, s->name, (unsigned long long)s->envelopes);
	forget();
}

static void
sum_up(struct ga_worker *w, struct ga_post *post)
{
	struct gone *g = GA_CONTAINER(post, struct gone, post);

	(void)w;
	if (g->snapshot > summed) {
		forget();
		summed = g->snapshot;
		told = 0;
	}
	if (g->snapshot == summed) {
		for (unsigned i = 0; i < g->n; i++)
			add(g->v[i].name, g->v[i].envelopes);
		if (++told == ga_worker_count())
			say_all();
	}
	for (unsigned i = 0; i < g->n; i++)
		free((char *)(uintptr_t)g->v[i].name.p);
	free(g);
}

void
q_gone_end(struct q_loop *l)
{
	struct ga_snapshot *snap;
	struct gone *g;

	if (l->named == NULL)
		return;
	snap = ga_snapshot_current();
	g = ga_xcalloc(1, sizeof *g + l->named_room * sizeof g->v[0]);
	g->snapshot = ga_snapshot_number(snap);
	for (uint32_t i = 1; i < l->named_room; i++) {
		struct ga_str name = l->named[i] > 0 ? q_name_text(l, i) : (struct ga_str){ "", 0 };

		if (name.n == 0 || q_router->known(snap, name))
			continue;
		g->v[g->n].name = (struct ga_str){ strndup(name.p, name.n), name.n };
		g->v[g->n++].envelopes = l->named[i];
	}
	ga_snapshot_unref(snap);
	free(l->named);
	l->named = NULL;
	g->post.fn = sum_up;
	ga_loop_post(ga_worker_main(), &g->post);
}
