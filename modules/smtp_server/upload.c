/*
 * upload.c - a large body goes to the spool while it arrives.
 *
 * Called by receive.c, on the session's loop.  A message that has grown over
 * SMTPD_PIECE goes to the spool in pieces of that size, our Received field first,
 * so that memory holds a few pieces of it and not fifty megabytes; its header is kept
 * until it is whole, which max_header_size bounds.  Not
 * when a module wants to see or edit the content: it must be whole for that.
 *
 * A piece belongs to the spool until its callback, which may come after the session
 * has gone; so pieces hold the upload, and the upload knows whether there still is a
 * session.
 */
#include <errno.h>
#include <stdlib.h>

#include "session.h"

#define SMTPD_PIECE (256u * 1024u)

struct smtpd_upload {
	struct smtpd_session *s;		/* NULL: gone */
	struct ga_spool_upload *spooled;	/* NULL: given to intake or aborted */
	unsigned pending;
	int error;
};

struct piece {
	struct ga_spool_piece piece;
	struct smtpd_upload *upload;
};

bool
smtpd_upload_wanted(const struct smtpd_session *s)
{
	if (s->upload != NULL)
		return s->txn->body->size >= SMTPD_PIECE;
	/* fields are put on top of the header and taken out of it, so it has to be known */
	return !s->scan.in_header && s->w->spool != NULL && !s->gen->content_hooks && !s->txn->discard &&
	    s->txn->body->size >= SMTPD_PIECE;
}

static void
piece_done(struct ga_worker *loop, struct ga_spool_piece *p)
{
	struct piece *piece = p->arg;
	struct smtpd_upload *u = piece->upload;
	struct smtpd_session *s = u->s;

	u->pending--;
	if (p->error != 0 && u->error == 0)
		u->error = p->error;
	free(piece);
	if (s == NULL) {
		if (u->pending == 0)
			free(u);
		return;
	}
	smtpd_enter(s);
	if (u->error != 0)
		smtpd_refuse_message(s, u->error == ENOSPC || u->error == EDQUOT ?
		    REFUSE_FULL : REFUSE_ERROR);
	if (s->state == S_HELD)
		smtpd_held_tick(s);
	smtpd_leave(s);
}

static void
begin(struct smtpd_session *s)
{
	struct smtpd_upload *u = ga_xcalloc(1, sizeof *u);
	struct ga_str trace = smtpd_trace(s);

	u->s = s;
	u->spooled = s->w->spool->upload_begin(s->w->loop);
	s->txn->header_size += (uint32_t)trace.n;
	ga_body_prepend(s->txn->body, trace.p, trace.n);
	s->upload = u;
}

void
smtpd_upload_feed(struct smtpd_session *s, bool last)
{
	struct piece *p;

	if (s->upload == NULL && !smtpd_header_complete(s))
		return;
	if (s->upload == NULL)
		begin(s);
	if (s->txn->body->size == 0) {		/* all of it is with the spool already */
		if (last) {
			ga_body_unref(s->txn->body);
			s->txn->body = NULL;
		}
		return;
	}
	p = ga_xcalloc(1, sizeof *p);
	p->upload = s->upload;
	p->piece.upload = s->upload->spooled;
	p->piece.body = s->txn->body;
	p->piece.cb = piece_done;
	p->piece.arg = p;
	s->txn->body = last ? NULL : ga_body_new();
	s->upload->pending++;
	s->w->spool->upload_piece(s->w->loop, &p->piece);
}

unsigned
smtpd_upload_pending(const struct smtpd_session *s)
{
	return s->upload != NULL ? s->upload->pending : 0;
}

void
smtpd_upload_drop(struct smtpd_session *s)
{
	struct smtpd_upload *u = s->upload;

	s->upload = NULL;
	if (u == NULL)
		return;
	if (u->spooled != NULL)
		s->w->spool->upload_abort(s->w->loop, u->spooled);
	u->spooled = NULL;
	u->s = NULL;
	if (u->pending == 0)
		free(u);
}

struct ga_spool_upload *
smtpd_upload_take(struct smtpd_session *s)
{
	struct ga_spool_upload *spooled;

	if (s->upload == NULL)
		return NULL;
	spooled = s->upload->spooled;
	s->upload->spooled = NULL;
	smtpd_upload_drop(s);
	return spooled;
}
