/*
 * table.c - messages and envelopes of a loop: by id, in and out.
 *
 * A message enters the table when it is submitted (its id is taken from then
 * on) and is filled when it is on stable storage.  It leaves with its last
 * envelope.  The counts that reports read are kept here.
 */
#include <stdlib.h>
#include <string.h>

#include "queue.h"

/* --- ids --- */

void
q_table_init(struct q_loop *l)
{
	q_slab_init(&l->messages, sizeof(struct q_message));
	q_slab_init(&l->envelopes, sizeof(struct q_envelope));
	l->id_mask = 1023;
	l->ids = ga_xcalloc(l->id_mask + 1, sizeof *l->ids);
}

void
q_table_end(struct q_loop *l)
{
	for (uint32_t i = 1; i < l->messages.n; i++) {
		struct q_message *m = q_message(l, i);

		if (m->state != Q_FREE && m->live != NULL)
			ga_message_unref(m->live);
	}
	q_slab_end(&l->messages);
	q_slab_end(&l->envelopes);
	HASH_CLEAR(hh, l->names);	/* looks at the first of them */
	for (uint32_t i = 1; i < l->nnames; i++)
		free(l->name_of[i]);
	free(l->name_of);
	free(l->free_names);
	free(l->ids);
	free(l->heap);
}

static uint32_t *
bucket(struct q_loop *l, uint32_t id)
{
	return &l->ids[(id / ga_worker_count()) & l->id_mask];
}

uint32_t
q_id_find(struct q_loop *l, uint32_t id)
{
	uint32_t i = *bucket(l, id);

	while (i != 0 && q_message(l, i)->id != id)
		i = q_message(l, i)->id_next;
	return i;
}

/* Two messages of a recovery may have one id: then only this tells which. */
bool
q_id_has(struct q_loop *l, uint32_t id, uint32_t message)
{
	uint32_t i = *bucket(l, id);

	while (i != 0 && i != message)
		i = q_message(l, i)->id_next;
	return i != 0 && q_message(l, i)->id == id;
}

static void
grow_ids(struct q_loop *l)
{
	uint32_t old = l->id_mask + 1, *before = l->ids;

	l->id_mask = old * 2 - 1;
	l->ids = ga_xcalloc(l->id_mask + 1, sizeof *l->ids);
	for (uint32_t b = 0; b < old; b++)
		for (uint32_t i = before[b], next; i != 0; i = next) {
			struct q_message *m = q_message(l, i);

			next = m->id_next;
			m->id_next = *bucket(l, m->id);
			*bucket(l, m->id) = i;
		}
	free(before);
}

/* A random id whose home is this loop and that no live message has. */
uint32_t
q_id_draw(struct q_loop *l)
{
	uint32_t n = ga_worker_count(), id;

	do {
		id = ga_random32();
		id = id - id % n + ga_worker_index(l->worker);
	} while (id == 0 || id % n != ga_worker_index(l->worker) || q_id_find(l, id) != 0);
	return id;
}

uint32_t
q_message_new(struct q_loop *l, uint32_t id)
{
	uint32_t i = q_slab_new(&l->messages);
	struct q_message *m = q_message(l, i);

	if (++l->nids > l->id_mask)
		grow_ids(l);
	m->id = id;
	m->state = Q_COMMITTING;
	m->id_next = *bucket(l, id);
	*bucket(l, id) = i;
	return i;
}

static void
id_remove(struct q_loop *l, uint32_t message)
{
	uint32_t *at = bucket(l, q_message(l, message)->id);

	while (*at != message)
		at = &q_message(l, *at)->id_next;
	*at = q_message(l, message)->id_next;
	l->nids--;
}

void
q_message_forget(struct q_loop *l, uint32_t message)
{
	id_remove(l, message);
	q_slab_free(&l->messages, message);
}

/* --- counts by state --- */

static void
count(struct q_loop *l, const struct q_envelope *e, int by)
{
	switch ((enum q_state)e->state) {
	case Q_LANED:
	case Q_TIMED:
		Q_ADD(l, waiting, by);
		break;
	case Q_OUT:
		Q_ADD(l, out, by);
		break;
	case Q_PAUSED:
	case Q_HELD:
		Q_ADD(l, paused, by);
		break;
	case Q_ENDED:
		if ((e->flags & GA_ENV_FAILED) != 0)
			Q_ADD(l, failed, by);
		return;
	case Q_FREE:
	case Q_COMMITTING:
		return;
	}
	if (e->attempts > 0)
		Q_ADD(l, disk, by);
	else if (q_message(l, e->message)->bounce)
		Q_ADD(l, bounce, by);
	else
		Q_ADD(l, ram, by);
}

void
q_state_set(struct q_loop *l, uint32_t envelope, enum q_state state)
{
	struct q_envelope *e = q_envelope(l, envelope);

	count(l, e, -1);
	e->state = (uint8_t)state;
	count(l, e, 1);
}

/* --- in --- */

static struct ga_str
domain_of(struct ga_str address)
{
	const char *at = address.n > 0 ? memrchr(address.p, '@', address.n) : NULL;

	if (at == NULL)
		return (struct ga_str){ "", 0 };
	return (struct ga_str){ at + 1, address.n - (size_t)(at + 1 - address.p) };
}

uint32_t
q_local_hash(struct ga_str address)
{
	const char *at = address.n > 0 ? memrchr(address.p, '@', address.n) : NULL;

	return ga_str_hash((struct ga_str){ address.p, at != NULL ? (size_t)(at - address.p) : address.n }, true);
}

static struct ga_str
text_of(const struct ga_message *m, unsigned attr)
{
	struct ga_str text = { "", 0 };

	ga_attr_get(m->attrs, attr, &text);
	return text;
}

static void
fill_envelope(struct q_loop *l, uint32_t message, const struct ga_envelope *from)
{
	uint32_t i = q_slab_new(&l->envelopes);
	struct q_envelope *e = q_envelope(l, i);
	struct q_message *m = q_message(l, message);

	e->message = message;
	e->random = from->random;
	e->index = from->index;
	e->attempts = from->attempts > UINT16_MAX ? UINT16_MAX : (uint16_t)from->attempts;
	e->flags = (uint8_t)from->flags;
	e->domain = q_name(l, from->domain);
	e->local = q_local_hash(from->recipient);
	if ((ga_attr_u32(from->attrs, GA_ATTR_NOTIFY, 0) & GA_NOTIFY_DELAY) != 0)
		m->notify_delay = true;
	e->next = m->envelopes;
	m->envelopes = i;
	m->nlive++;
	if (from->attempts == 0)
		m->first_attempts++;
	Q_ADD(l, envelopes, 1);
}

void
q_message_fill(struct q_loop *l, uint32_t message, const struct ga_message *from)
{
	struct q_message *m = q_message(l, message);

	m->seq = from->seq;
	m->accepted_ms = from->accepted_ms;
	m->state = Q_TIMED;
	m->bounce = (from->flags & GA_MSG_BOUNCE) != 0;
	m->virtual_mta = q_name(l, from->virtual_mta);
	m->sender = q_name(l, domain_of(from->sender));
	m->from = q_name(l, text_of(from, GA_ATTR_FROM_DOMAIN));
	m->send = q_name(l, text_of(from, GA_ATTR_SEND_ID));
	for (uint32_t k = from->nenvelopes; k-- > 0;)
		if ((from->envelopes[k].flags & GA_ENV_DONE) == 0)
			fill_envelope(l, message, &from->envelopes[k]);
	Q_ADD(l, messages, 1);
}

bool
q_nothing_left(const struct ga_message *m)
{
	for (uint32_t i = 0; i < m->nenvelopes; i++)
		if ((m->envelopes[i].flags & GA_ENV_DONE) == 0)
			return false;
	return true;
}

/* --- out --- */

static void
message_gone(struct q_loop *l, uint32_t message)
{
	struct q_message *m = q_message(l, message);

	if (m->live != NULL)
		ga_message_unref(m->live);
	q_name_unref(l, m->virtual_mta);
	q_name_unref(l, m->sender);
	q_name_unref(l, m->from);
	q_name_unref(l, m->send);
	id_remove(l, message);
	q_slab_free(&l->messages, message);
	Q_ADD(l, messages, -1);
}

/* Its end is recorded, or on its way to be: nothing remembers it any more. */
void
q_envelope_finished(struct q_loop *l, uint32_t envelope)
{
	struct q_envelope *e = q_envelope(l, envelope);
	uint32_t message = e->message, *at;
	struct q_message *m = q_message(l, message);

	q_state_set(l, envelope, Q_FREE);
	if (e->heap_at != 0)
		q_heap_take(l, envelope);
	for (at = &m->envelopes; *at != envelope; at = &q_envelope(l, *at)->next)
		;
	*at = e->next;
	q_name_unref(l, e->domain);
	q_slab_free(&l->envelopes, envelope);
	Q_ADD(l, envelopes, -1);
	if (--m->nlive == 0)
		message_gone(l, message);
}

/* What is held or paused must not fill the memory. */
void
q_message_unload(struct q_loop *l, uint32_t message)
{
	struct q_message *m = q_message(l, message);

	if (m->live != NULL)
		ga_message_unref(m->live);
	m->live = NULL;
}

/* The message is kept in memory until every envelope was tried once. */
void
q_first_attempt_ended(struct q_loop *l, uint32_t envelope)
{
	struct q_message *m = q_message(l, q_envelope(l, envelope)->message);

	if (m->first_attempts > 0 && --m->first_attempts == 0)
		q_message_unload(l, q_envelope(l, envelope)->message);
}
