/*
 * maint.c - the maintenance thread: requests first, then one slice of upkeep.
 *
 * Requests are reads, pieces of large bodies, recovery's posts and compaction's
 * copies coming back.  Upkeep is feeding, segment files and compaction, each in
 * slices of a few milliseconds, so that a read never waits long.
 */
#include <stdlib.h>

#include "engine.h"

#define IDLE_MS 1000

struct maint {
	struct provision *provision;
	struct compaction *compaction;
	struct feed *feed;
	uint64_t looked_us;		/* when the free space was last asked for */
	bool prepared;
};

struct maint *
maint_new(void)
{
	struct maint *m = ga_xcalloc(1, sizeof *m);

	m->provision = provide_new();
	m->compaction = compact_new();
	m->feed = feed_new();
	return (m);
}

void
maint_free(struct spool *s)
{
	provide_free(s, s->maint->provision);
	compact_free(s->maint->compaction);
	feed_free(s->maint->feed);
	free(s->maint);
}

static void
serve(struct spool *s, struct ga_spool_link *op)
{
	struct maint *m = s->maint;

	switch (op->kind) {
	case OP_COMMIT:
		upload_commit(s, m->provision, (struct ga_spool_commit *)op);
		break;
	case OP_COPY:
		compact_copied(s, m->compaction, (struct op_copy *)op);
		break;
	case OP_READ:
		read_request(s, (struct ga_spool_read *)op);
		break;
	case OP_READ_BODY:
		read_body_request(s, (struct ga_spool_read_body *)op);
		break;
	case OP_PIECE:
		upload_piece(s, m->provision, (struct ga_spool_piece *)op);
		break;
	case OP_ABORT:
		upload_release(s, (struct ga_spool_upload *)op);
		break;
	case OP_RECOVER:
		feed_add(m->feed, op);
		break;
	case OP_FED:
		feed_fed(op);
		break;
	}
}

void
maint_measure(struct spool *s)
{
	uint64_t bytes = 0;

	if (s->fs->free_bytes(s->fs->ctx, s->dir, &bytes) == 0)
		atomic_store(&s->stats.free_bytes, bytes);
}

/* Is there room for new mail? */
static void
look_at_space(struct spool *s)
{
	uint64_t now = spool_now_us(s);
	bool full;

	if (s->maint->looked_us == 0 || now - s->maint->looked_us >= IDLE_MS * 1000u) {
		s->maint->looked_us = now;
		maint_measure(s);
	}
	pthread_mutex_lock(&s->ledger.lock);
	full = s->no_room && s->nready == 0 && (s->active == NULL || s->active_for != SPOOL_NO_RESERVE ||
	    s->active->size - s->active->end < s->conf.segment_size / 8);
	pthread_mutex_unlock(&s->ledger.lock);
	full |= atomic_load(&s->stats.free_bytes) < s->conf.min_free;
	if (full != atomic_load(&s->stats.full)) {
		spool_log(s, full ? GA_ERR : GA_NOTICE, "GA-SPOOL-0018", full ?
		    "no room for new mail: it is refused with 452 until there is" :
		    "there is room for new mail again");
		atomic_store(&s->stats.full, full);
	}
}

static bool
upkeep(struct spool *s)
{
	struct maint *m = s->maint;

	if (!m->prepared) {
		feed_prepare(s, m->feed);
		m->prepared = true;
	}
	if (feed_step(s, m->feed))
		return (true);
	if (provide_step(s, m->provision))
		return (true);
	if (feed_busy(m->feed))
		return (false);
	return (compact_step(s, m->compaction));
}

int
maint_step(struct spool *s)
{
	struct ga_spool_link *op, *next;
	bool busy;

	for (op = inbox_take(&s->chores); op != NULL; op = next) {
		next = op_next(op);
		serve(s, op);
	}
	busy = upkeep(s);
	look_at_space(s);
	return (busy ? 0 : IDLE_MS);
}

void
maint_prepare(struct spool *s)
{
	while (s->nready == 0 && provide_step(s, s->maint->provision))
		;
	look_at_space(s);
}

void
maint_settle(struct spool *s)
{
	while (maint_step(s) == 0)
		;
}
