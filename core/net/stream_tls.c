/*
 * stream_tls.c - TLS on a stream's socket, with GnuTLS.
 *
 * Called by stream_fd.c on the stream's loop.  Owns the GnuTLS session.  States:
 * SHAKING until tls_done was called; OPEN; ENDED after the peer's close_notify;
 * FAILED after any error.  From the last two there is no way back: an octet that
 * comes behind close_notify is never looked at, and the socket is only closed.
 *
 * GnuTLS takes a record whole: when the socket is full it keeps the ciphertext
 * and wants to be called again.  We count those octets as taken and flush them
 * when the socket is writable, whether the owner wants to write or not.  In the
 * other direction a record may hold more than the owner's buffer: a timer of
 * zero delay then plays the part of the socket, one call a turn of the loop.
 *
 * A ticket is worth remembering only after it came, so sessions are remembered
 * when the stream is closed.  Renegotiation is answered with an alert and ends
 * the stream.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loop/loop.h"
#include "net/stream.h"
#include "net/tls.h"

enum { RECORD = 16384, RECORDS_A_CALL = 16, ALERTS_A_CALL = 8, DEFAULT_TIMEOUT_MS = 60000 };

struct fd_tls {
	struct fd_stream *f;
	gnutls_session_t session;
	struct ga_tls_server *server;	/* NULL: we are the client */
	struct ev_timer timer;		/* SHAKING: its limit; OPEN: octets lie decrypted */
	enum { SHAKING, OPEN, ENDED, FAILED } state;
	bool verify, started, read_wants_write, unsent;
	uint32_t timeout_ms;
	char *server_name;		/* NULL: none, or not a host name */
	struct ga_str resume_key;	/* ours; n 0: do not remember */
	const char *setup_error;	/* static text */
};

static void timer_fired(struct ev_loop *, struct ev_timer *, int);

static struct ev_loop *loop_of(const struct fd_tls *t)
{
	return gac_loop_ev(t->f->s.worker);
}

static void set_timer(struct fd_tls *t, double seconds)
{
	ev_timer_stop(loop_of(t), &t->timer);
	ev_timer_set(&t->timer, seconds, 0.);
	ev_timer_start(loop_of(t), &t->timer);
}

/* --- beginning --- */

/* SNI and certificates know host names only (RFC 6066 3). */
static char *host_name(struct ga_str s)
{
	unsigned char addr[16];
	char *name;

	if (s.n > 0 && s.p[s.n - 1] == '.')
		s.n--;
	if (s.n == 0 || s.n > 253)
		return NULL;
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] == 127 || strchr("[]:\\/\"@", s.p[i]) != NULL)
			return NULL;
	name = ga_xmalloc(s.n + 1);
	memcpy(name, s.p, s.n);
	name[s.n] = 0;
	if (inet_pton(AF_INET, name, addr) != 1)
		return name;
	free(name);
	return NULL;
}

/* What a session may be resumed for: the owner's key, the name, and whether the
 * name was verified, so that an unverified session never stands for a verified one. */
static struct ga_str make_resume_key(const struct ga_tls_params *p)
{
	size_t n = p->resume_key.n + p->server_name.n + 2;
	char *key;

	if (p->resume_key.n == 0)
		return (struct ga_str){ NULL, 0 };
	key = ga_xmalloc(n);
	key[0] = p->verify ? 'v' : '-';
	memcpy(key + 1, p->resume_key.p, p->resume_key.n);
	key[1 + p->resume_key.n] = 0;
	if (p->server_name.n > 0)
		memcpy(key + 2 + p->resume_key.n, p->server_name.p, p->server_name.n);
	return (struct ga_str){ key, n };
}

static int set_alpn(gnutls_session_t session, struct ga_str alpn)
{
	gnutls_datum_t protocol = { (unsigned char *)(uintptr_t)alpn.p, (unsigned)alpn.n };

	if (alpn.n == 0)
		return 0;
	return gnutls_alpn_set_protocols(session, &protocol, 1, GNUTLS_ALPN_MANDATORY);
}

static int set_up(struct fd_tls *t, const struct ga_tls_params *p)
{
	unsigned side = p->server != NULL ? GNUTLS_SERVER : GNUTLS_CLIENT;
	int e = gnutls_init(&t->session, side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (e < 0) {
		t->session = NULL;
		return e;
	}
	gnutls_transport_set_int(t->session, t->f->io.fd);
	gnutls_handshake_set_timeout(t->session, 0);
	e = p->server != NULL ? gac_tls_setup_server(t->session, p->server) :
	    gac_tls_setup_client(t->session, p->verify);
	if (e >= 0)
		e = set_alpn(t->session, p->alpn);
	if (e >= 0 && t->server_name != NULL && p->server == NULL)
		e = gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, t->server_name,
		    strlen(t->server_name));
	if (e >= 0 && t->resume_key.n > 0)
		gac_tls_recall(t->resume_key, t->session);
	return e;
}

void gac_tls_begin(struct fd_stream *f, const struct ga_tls_params *p)
{
	struct fd_tls *t;
	int e;

	if (f->tls != NULL) {
		f->tls->setup_error = "TLS is on already";
		f->tls->state = SHAKING;
		set_timer(f->tls, 0.);
		return;
	}
	t = f->tls = ga_xcalloc(1, sizeof(*t));
	t->f = f;
	t->verify = p->verify && p->server == NULL;
	t->timeout_ms = p->timeout_ms > 0 ? p->timeout_ms : DEFAULT_TIMEOUT_MS;
	if (p->server != NULL) {
		t->server = ga_tls_server_ref(p->server);
	} else {
		t->server_name = host_name(p->server_name);
		t->resume_key = make_resume_key(p);
	}
	ev_timer_init(&t->timer, timer_fired, 0., 0.);
	t->timer.data = t;
	e = set_up(t, p);
	if (e < 0)
		t->setup_error = gnutls_strerror(e);
	set_timer(t, e < 0 ? 0. : (double)t->timeout_ms / 1000.);
	gac_stream_arm(f);
}

/* --- handshake --- */

static void plain_text(char *to, size_t room, const char *from, size_t n)
{
	size_t i;

	for (i = 0; i < n && i + 1 < room; i++)
		to[i] = from[i] < ' ' || from[i] > '~' ? '?' : from[i];
	to[i] = 0;
}

static void note_peer(struct fd_tls *t, struct ga_stream_info *info)
{
	unsigned n = 0;
	const gnutls_datum_t *chain = gnutls_certificate_get_peers(t->session, &n);
	gnutls_datum_t dn = { NULL, 0 };
	gnutls_x509_crt_t crt;

	if (chain == NULL || n == 0 || gnutls_x509_crt_init(&crt) < 0)
		return;
	if (gnutls_x509_crt_import(crt, &chain[0], GNUTLS_X509_FMT_DER) >= 0 &&
	    gnutls_x509_crt_get_dn3(crt, &dn, 0) >= 0)
		plain_text(info->tls_peer, sizeof(info->tls_peer), (const char *)dn.data, dn.size);
	gnutls_free(dn.data);
	gnutls_x509_crt_deinit(crt);
}

static void note_session(struct fd_tls *t)
{
	struct ga_stream_info *info = &t->f->info;
	const char *version = gnutls_protocol_get_name(gnutls_protocol_get_version(t->session));
	const char *suite = gnutls_ciphersuite_get(t->session);

	info->tls = true;
	info->tls_resumed = gnutls_session_is_resumed(t->session) != 0;
	snprintf(info->tls_version, sizeof(info->tls_version), "%s", version != NULL ? version : "?");
	snprintf(info->tls_cipher, sizeof(info->tls_cipher), "%s", suite != NULL ? suite : "?");
	if (t->server == NULL)
		note_peer(t, info);
}

/* "The certificate is NOT trusted. …" in info->tls_verify_error; true: verified. */
static bool verified(struct fd_tls *t)
{
	struct ga_stream_info *info = &t->f->info;
	gnutls_datum_t text = { NULL, 0 };
	unsigned status = 0;
	int e;

	if (t->server_name == NULL) {
		snprintf(info->tls_verify_error, sizeof(info->tls_verify_error), "no host name to verify");
		return false;
	}
	e = gnutls_certificate_verify_peers3(t->session, t->server_name, &status);
	if (e >= 0 && status == 0)
		return true;
	if (e >= 0)
		e = gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
	if (e >= 0)
		plain_text(info->tls_verify_error, sizeof(info->tls_verify_error), (const char *)text.data,
		    text.size > 0 ? strlen((const char *)text.data) : 0);
	else
		snprintf(info->tls_verify_error, sizeof(info->tls_verify_error), "%s", gnutls_strerror(e));
	gnutls_free(text.data);
	return false;
}

static void done(struct fd_tls *t, const char *err)
{
	struct ga_stream *s = &t->f->s;

	t->state = err == NULL ? OPEN : FAILED;
	ev_timer_stop(loop_of(t), &t->timer);
	gac_stream_arm(t->f);
	GAC_CALL(s->worker, s->tls_done, s, err, s->arg);
}

static void handshake_failed(struct fd_tls *t, int e)
{
	char err[256];

	if (e == GNUTLS_E_FATAL_ALERT_RECEIVED) {
		const char *alert = gnutls_alert_get_name(gnutls_alert_get(t->session));

		snprintf(err, sizeof(err), "TLS handshake: the peer refused: %s", alert != NULL ? alert : "?");
	} else {
		(void)gnutls_alert_send_appropriate(t->session, e);
		snprintf(err, sizeof(err), "TLS handshake: %s", gnutls_strerror(e));
	}
	done(t, err);
}

static void handshake_done(struct fd_tls *t)
{
	char err[320];

	note_session(t);
	if (t->verify) {
		t->f->info.tls_verified = verified(t);
		if (!t->f->info.tls_verified) {
			(void)gnutls_alert_send(t->session, GNUTLS_AL_FATAL, GNUTLS_A_BAD_CERTIFICATE);
			snprintf(err, sizeof(err), "certificate of %.80s: %s",
			    t->server_name != NULL ? t->server_name : "the server", t->f->info.tls_verify_error);
			done(t, err);
			return;
		}
	} else if (t->server == NULL) {
		snprintf(t->f->info.tls_verify_error, sizeof(t->f->info.tls_verify_error), "not asked for");
	}
	done(t, NULL);
}

static void handshake(struct fd_tls *t)
{
	int e = GNUTLS_E_INTERNAL_ERROR;

	t->started = true;
	for (int i = 0; i < ALERTS_A_CALL; i++) {
		e = gnutls_handshake(t->session);
		if (e == GNUTLS_E_AGAIN) {
			gac_stream_arm(t->f);
			return;
		}
		if (e >= 0) {
			handshake_done(t);
			return;
		}
		if (gnutls_error_is_fatal(e))
			break;
	}
	handshake_failed(t, e);
}

static void timer_fired(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct fd_tls *t = timer->data;
	char err[64];

	(void)ev;
	(void)revents;
	if (t->state == SHAKING && t->setup_error != NULL) {
		done(t, t->setup_error);
	} else if (t->state == SHAKING) {
		snprintf(err, sizeof(err), "TLS handshake: no end within %u s", (t->timeout_ms + 999) / 1000);
		done(t, err);
	} else if ((t->f->want & GA_READ) && (t->state != OPEN || gnutls_record_check_pending(t->session) > 0)) {
		set_timer(t, 0.);
		gac_stream_ready(t->f, GA_READ);
	}
}

/* --- events --- */

int gac_tls_events(const struct fd_tls *t, bool *only)
{
	*only = t->state == SHAKING;
	if (t->state == SHAKING && t->setup_error != NULL)
		return 0;
	if (t->state == SHAKING && !t->started)
		return t->server == NULL ? EV_WRITE : EV_READ;
	if (t->state == SHAKING)
		return gnutls_record_get_direction(t->session) == 1 ? EV_WRITE : EV_READ;
	return t->state == OPEN && (t->unsent || t->read_wants_write) ? EV_WRITE : 0;
}

/* Sends what GnuTLS holds back.  0, -EAGAIN, or another -errno. */
static int flush(struct fd_tls *t)
{
	ssize_t n;

	if (!t->unsent)
		return 0;
	do
		n = gnutls_record_send(t->session, NULL, 0);
	while (n == GNUTLS_E_INTERRUPTED);
	if (n == GNUTLS_E_AGAIN)
		return -EAGAIN;
	t->unsent = false;
	if (n >= 0)
		return 0;
	t->state = FAILED;
	return n == GNUTLS_E_PUSH_ERROR ? -EPIPE : -EPROTO;
}

bool gac_tls_io(struct fd_stream *f, unsigned *events)
{
	struct fd_tls *t = f->tls;

	if (t->state == SHAKING) {
		handshake(t);
		return false;
	}
	if (*events & GA_WRITE) {
		if (flush(t) == -EAGAIN)
			*events &= ~GA_WRITE;
		else if (t->read_wants_write)
			*events |= GA_READ;
	}
	gac_stream_arm(f);
	return true;
}

void gac_tls_want(struct fd_stream *f)
{
	struct fd_tls *t = f->tls;
	bool pending;

	if (t->state == SHAKING)
		return;
	pending = t->state != OPEN || gnutls_record_check_pending(t->session) > 0;
	if ((f->want & GA_READ) && pending)
		set_timer(t, 0.);
	else
		ev_timer_stop(loop_of(t), &t->timer);
}

/* --- reading and writing --- */

static ssize_t read_error(struct fd_tls *t, ssize_t e)
{
	if (e == GNUTLS_E_AGAIN) {
		t->read_wants_write = gnutls_record_get_direction(t->session) == 1;
		gac_stream_arm(t->f);
		return -EAGAIN;
	}
	/* Many servers close without close_notify; what ends early ends. */
	if (e == 0 || e == GNUTLS_E_PREMATURE_TERMINATION) {
		t->state = ENDED;
		return 0;
	}
	if (e == GNUTLS_E_REHANDSHAKE)
		(void)gnutls_alert_send(t->session, GNUTLS_AL_FATAL, GNUTLS_A_NO_RENEGOTIATION);
	t->state = FAILED;
	return e == GNUTLS_E_PULL_ERROR ? -ECONNRESET : -EPROTO;
}

ssize_t gac_tls_read(struct fd_stream *f, void *p, size_t n)
{
	struct fd_tls *t = f->tls;
	ssize_t r = GNUTLS_E_INTERRUPTED;

	if (t->state != OPEN)
		return t->state == SHAKING ? -EAGAIN : t->state == ENDED ? 0 : -EPROTO;
	for (int i = 0; i < ALERTS_A_CALL && r < 0; i++) {
		r = gnutls_record_recv(t->session, p, n);
		if (r != GNUTLS_E_INTERRUPTED && r != GNUTLS_E_WARNING_ALERT_RECEIVED)
			break;
	}
	t->read_wants_write = false;
	if (r <= 0)
		return read_error(t, r);
	gac_tls_want(f);
	return r;
}

/* Where a walk over iovecs stands. */
struct walk {
	const struct iovec *v;
	int n;
	size_t at;
};

static void skip(struct walk *w, size_t octets)
{
	w->at += octets;
	while (w->n > 0 && w->at >= w->v->iov_len) {
		w->at -= w->v->iov_len;
		w->v++;
		w->n--;
	}
}

/* A record's worth from the walk's place: in place if one iovec has it, else
 * gathered in buf.  The walk stays where it is. */
static size_t gather(struct walk w, char *buf, const char **from)
{
	size_t n = 0;

	*from = (const char *)w.v->iov_base + w.at;
	if (w.n == 1 || w.v->iov_len - w.at >= RECORD) {
		n = w.v->iov_len - w.at;
		return n < RECORD ? n : RECORD;
	}
	*from = buf;
	while (w.n > 0 && n < RECORD) {
		size_t part = w.v->iov_len - w.at;

		if (part > RECORD - n)
			part = RECORD - n;
		memcpy(buf + n, (const char *)w.v->iov_base + w.at, part);
		n += part;
		skip(&w, part);
	}
	return n;
}

/* One record.  Octets taken, or -errno. */
static ssize_t send_record(struct fd_tls *t, const char *p, size_t n)
{
	ssize_t r;

	do
		r = gnutls_record_send(t->session, p, n);
	while (r == GNUTLS_E_INTERRUPTED);
	if (r == GNUTLS_E_AGAIN) {
		t->unsent = true;
		gac_stream_arm(t->f);
		return (ssize_t)n;
	}
	if (r >= 0)
		return r;
	t->state = FAILED;
	return r == GNUTLS_E_PUSH_ERROR ? -EPIPE : -EPROTO;
}

ssize_t gac_tls_writev(struct fd_stream *f, const struct iovec *v, int n)
{
	static __thread char buf[RECORD];
	struct fd_tls *t = f->tls;
	struct walk w = { v, n, 0 };
	ssize_t total = 0;
	int e;

	if (t->state != OPEN)
		return t->state == SHAKING ? -EAGAIN : t->state == ENDED ? -EPIPE : -EPROTO;
	e = flush(t);
	if (e < 0)
		return e;
	skip(&w, 0);
	for (int i = 0; i < RECORDS_A_CALL && w.n > 0 && !t->unsent; i++) {
		const char *from;
		size_t size = gather(w, buf, &from);
		ssize_t r = send_record(t, from, size);

		if (r < 0)
			return total > 0 ? total : r;
		skip(&w, (size_t)r);
		total += r;
	}
	return total;
}

/* --- end --- */

static bool worth_remembering(struct fd_tls *t)
{
	if (t->resume_key.n == 0 || (t->state != OPEN && t->state != ENDED))
		return false;
	/* TLS 1.3 without a ticket: GnuTLS would wait for one. */
	return gnutls_protocol_get_version(t->session) < GNUTLS_TLS1_3 ||
	    (gnutls_session_get_flags(t->session) & GNUTLS_SFLAGS_SESSION_TICKET) != 0;
}

void gac_tls_end(struct fd_stream *f, bool abort)
{
	struct fd_tls *t = f->tls;

	ev_timer_stop(loop_of(t), &t->timer);
	if (t->session != NULL) {
		if (worth_remembering(t))
			gac_tls_remember(t->resume_key, t->session);
		if (!abort && (t->state == OPEN || t->state == ENDED) && flush(t) == 0)
			(void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
		gnutls_deinit(t->session);
	}
	ga_tls_server_unref(t->server);
	free(t->server_name);
	free((char *)(uintptr_t)t->resume_key.p);
	free(t);
	f->tls = NULL;
}
