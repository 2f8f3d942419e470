/*
 * upload.c - large bodies: BODY records in segments of their own.
 *
 * Maintenance thread, but for upload_release() which also runs on the committer.
 * Pieces are written as they come and synced once, before the MESSAGE record
 * that refers to them goes to the committer.  A body without a MESSAGE is an
 * orphan: nothing counts it, and its segment goes when nothing else is in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "engine.h"

/* What is left to write of a body. */
struct source {
	const struct ga_body_chunk *chunk;
	size_t at;
};

/* Up to max octets as an iovec behind iov[0]; returns their number. */
static size_t
next_octets(struct source *src, size_t max, struct iovec *iov, size_t *niov, uint32_t *crc)
{
	size_t n, sum = 0;

	while (src->chunk != NULL && sum < max && *niov < 255) {
		n = src->chunk->n - src->at;
		if (n > max - sum)
			n = max - sum;
		iov[(*niov)++] = (struct iovec){ (void *)(uintptr_t)(src->chunk->data + src->at), n };
		*crc = spool_crc32c(*crc, src->chunk->data + src->at, n);
		sum += n;
		src->at += n;
		if (src->at == src->chunk->n) {
			src->chunk = src->chunk->next;
			src->at = 0;
		}
	}
	return (sum);
}

static void
add_piece(struct spool *s, struct ga_spool_upload *u, struct segment *g, const struct rec_header *h)
{
	/* grows by powers of two */
	if ((u->npieces & (u->npieces - 1)) == 0)
		u->pieces = ga_xrealloc(u->pieces, (u->npieces * 2 + 1) * sizeof *u->pieces);
	u->pieces[u->npieces++] = (struct rec_piece){ g->number, (uint32_t)h->offset, h->body_len };
	u->size += h->body_len;
	pthread_mutex_lock(&s->ledger.lock);
	g->users++;
	g->unsynced = true;
	g->end += rec_size(h);
	pthread_mutex_unlock(&s->ledger.lock);
}

static int
write_piece(struct spool *s, struct provision *p, struct ga_spool_upload *u, struct source *src)
{
	static const unsigned char zeros[8];
	unsigned char head[REC_HEADER];
	struct rec_header h = { .type = REC_BODY };
	struct iovec iov[258];
	struct segment *g;
	uint64_t most = s->conf.segment_size - SEG_START - REC_HEADER - 8;
	size_t niov = 1;
	int error = 0;

	h.body_len = (uint32_t)next_octets(src, most < SPOOL_PIECE ? (size_t)most : SPOOL_PIECE, iov, &niov,
	    &h.body_crc);
	g = provide_bodies(s, p, rec_size(&h), &error);
	if (g == NULL)
		return (-error);
	h.offset = g->end;
	rec_put_header(head, &h, g->tag);
	iov[0] = (struct iovec){ head, sizeof head };
	iov[niov++] = (struct iovec){ (void *)(uintptr_t)zeros,
	    (size_t)(rec_size(&h) - REC_HEADER - h.body_len) };
	error = spool_pwritev_all(s->fs, g->fd, iov, niov, g->end);
	if (error != 0)
		provide_bodies_failed(s, p, g);
	else
		add_piece(s, u, g, &h);
	return (-error);
}

static int
write_body(struct spool *s, struct provision *p, struct ga_spool_upload *u, const struct ga_body *body)
{
	struct source src = { body->chunks, 0 };

	while (src.chunk != NULL && u->error == 0) {
		if (src.chunk->n == 0)
			src.chunk = src.chunk->next;
		else
			u->error = write_piece(s, p, u, &src);
	}
	return (u->error);
}

void
upload_piece(struct spool *s, struct provision *p, struct ga_spool_piece *piece)
{
	int error = write_body(s, p, piece->upload, piece->body);

	ga_body_unref(piece->body);
	piece->body = NULL;
	spool_finish(s, &piece->link, error);
}

/* A sync that fails is final for the segment, and so for every body in it that is
 * not committed yet. */
static int
sync_pieces(struct spool *s, struct provision *p, const struct ga_spool_upload *u)
{
	struct segment *g;
	uint32_t i;

	for (i = 0; i < u->npieces; i++) {
		pthread_mutex_lock(&s->ledger.lock);
		g = ledger_segment(&s->ledger, u->pieces[i].segment);
		pthread_mutex_unlock(&s->ledger.lock);
		if (g == NULL || (g->unsynced && g->state == SEG_FAILED))
			return (EIO);
		if (!g->unsynced || !s->conf.fsync)
			continue;
		if (s->fs->sync(s->fs->ctx, g->fd) != 0) {
			atomic_fetch_add(&s->stats.failed_syncs, 1);
			provide_bodies_failed(s, p, g);
			return (EIO);
		}
		g->unsynced = false;
	}
	return (0);
}

void
upload_commit(struct spool *s, struct provision *p, struct ga_spool_commit *c)
{
	int error;

	if (c->upload == NULL) {
		c->upload = spool_upload_begin();
		write_body(s, p, c->upload, c->message->body);
	}
	error = c->upload->error;
	if (error == 0)
		error = sync_pieces(s, p, c->upload);
	if (error != 0)
		spool_finish(s, &c->link, error);
	else
		inbox_put(&s->commits, &c->link);
}

void
upload_release(struct spool *s, struct ga_spool_upload *u)
{
	struct segment *g;
	uint32_t i;

	pthread_mutex_lock(&s->ledger.lock);
	for (i = 0; i < u->npieces; i++) {
		g = ledger_segment(&s->ledger, u->pieces[i].segment);
		if (g != NULL)
			g->users--;
	}
	pthread_mutex_unlock(&s->ledger.lock);
	free(u->pieces);
	free(u);
}
