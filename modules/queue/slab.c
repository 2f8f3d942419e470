/*
 * slab.c - entries named by number, and strings that many entries share.
 *
 * Entry 0 of a slab is never given out: 0 means none.  Growing moves the slab,
 * so pointers into it are only held between calls that do not add entries.
 */
#include <stdlib.h>
#include <string.h>

#include "queue.h"

void
q_slab_init(struct q_slab *s, size_t size)
{
	memset(s, 0, sizeof *s);
	s->size = size;
	s->n = 1;
}

uint32_t
q_slab_new(struct q_slab *s)
{
	uint32_t i = s->free;

	if (i != 0) {
		memcpy(&s->free, s->p + (size_t)i * s->size, sizeof s->free);
	} else {
		if (s->n >= s->room) {
			s->room = s->room > 0 ? s->room + s->room / 2 : 1024;
			s->p = ga_xrealloc(s->p, (size_t)s->room * s->size);
		}
		i = s->n++;
	}
	memset(s->p + (size_t)i * s->size, 0, s->size);
	return i;
}

void
q_slab_free(struct q_slab *s, uint32_t i)
{
	memset(s->p + (size_t)i * s->size, 0, s->size);
	memcpy(s->p + (size_t)i * s->size, &s->free, sizeof s->free);
	s->free = i;
}

void
q_slab_end(struct q_slab *s)
{
	free(s->p);
	memset(s, 0, sizeof *s);
}

/* --- names --- */

static uint32_t
name_number(struct q_loop *l)
{
	if (l->nfree_names > 0)
		return l->free_names[--l->nfree_names];
	if (l->nnames == 0)
		l->nnames = 1;
	if (l->nnames >= l->names_room) {
		l->names_room = l->names_room > 0 ? l->names_room * 2 : 256;
		l->name_of = ga_xrealloc(l->name_of, l->names_room * sizeof *l->name_of);
	}
	return l->nnames++;
}

uint32_t
q_name(struct q_loop *l, struct ga_str text)
{
	struct q_name *name;

	HASH_FIND(hh, l->names, text.p != NULL ? text.p : "", text.n, name);
	if (name == NULL) {
		name = ga_xcalloc(1, sizeof *name + text.n + 1);
		name->n = (uint32_t)text.n;
		if (text.n > 0)
			memcpy(name->text, text.p, text.n);
		name->hash = ga_str_hash(text, false);
		name->number = name_number(l);
		l->name_of[name->number] = name;
		HASH_ADD_KEYPTR(hh, l->names, name->text, name->n, name);
	}
	name->refs++;
	return name->number;
}

void
q_name_unref(struct q_loop *l, uint32_t number)
{
	struct q_name *name = l->name_of[number];

	if (--name->refs > 0)
		return;
	HASH_DEL(l->names, name);
	free(name);
	l->name_of[number] = NULL;
	if (l->nfree_names == l->free_names_room) {
		l->free_names_room = l->free_names_room > 0 ? l->free_names_room * 2 : 64;
		l->free_names = ga_xrealloc(l->free_names, l->free_names_room * sizeof *l->free_names);
	}
	l->free_names[l->nfree_names++] = number;
}

struct ga_str
q_name_text(const struct q_loop *l, uint32_t number)
{
	const struct q_name *name = l->name_of[number];

	return (struct ga_str){ name->text, name->n };
}
