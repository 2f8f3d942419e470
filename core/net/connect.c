/*
 * connect.c - one TCP connection, without waiting (net.h).
 *
 * Called by transports on the loop that will own the stream.  An attempt is one
 * object with a watcher and a timer; it ends in one callback, always from the
 * loop itself, or in ga_connect_cancel().  A failure is a sentence for the
 * delivery log and an errno for the caller's decision.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "loop/loop.h"

#include <greenarrow/net.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

struct ga_connect {
	struct ga_worker *worker;
	struct ev_io io;
	struct ev_timer timer;		/* the limit; zero delay when it failed at once */
	int fd;				/* -1: none */
	int code;			/* errno, 0 = under way */
	uint32_t timeout_ms;
	struct ga_sockaddr remote;
	ga_connect_fn *cb;
	void *arg;
	char err[160];
};

static GA_PRINTF(3, 4) void fail(struct ga_connect *c, int code, const char *fmt, ...)
{
	va_list ap;

	c->code = code;
	va_start(ap, fmt);
	vsnprintf(c->err, sizeof(c->err), fmt, ap);
	va_end(ap);
}

static void free_attempt(struct ga_connect *c)
{
	struct ev_loop *ev = gac_loop_ev(c->worker);

	ev_io_stop(ev, &c->io);
	ev_timer_stop(ev, &c->timer);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
}

static void failed(struct ga_connect *c)
{
	GAC_CALL(c->worker, c->cb, c->worker, NULL, c->code, c->err, c->arg);
	free_attempt(c);
}

static void connected(struct ga_connect *c)
{
	struct ga_sockaddr local = { .len = sizeof(local.u) };
	struct ga_stream *s;

	if (getsockname(c->fd, &local.u.sa, &local.len) != 0)
		local.len = 0;
	ev_io_stop(gac_loop_ev(c->worker), &c->io);
	s = ga_stream_fd(c->worker, c->fd, &c->remote, &local);
	c->fd = -1;
	GAC_CALL(c->worker, c->cb, c->worker, s, 0, NULL, c->arg);
	free_attempt(c);
}

static void writable(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct ga_connect *c = io->data;
	int code = 0;
	socklen_t n = sizeof(code);

	(void)ev;
	(void)revents;
	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &code, &n) != 0)
		code = errno;
	if (code == 0) {
		connected(c);
		return;
	}
	fail(c, code, "connect: %s", strerrordesc_np(code));
	failed(c);
}

static void timer_fired(struct ev_loop *ev, struct ev_timer *timer, int revents)
{
	struct ga_connect *c = timer->data;

	(void)ev;
	(void)revents;
	if (c->code == 0)
		fail(c, ETIMEDOUT, "connect: no answer within %u s", (c->timeout_ms + 999) / 1000);
	failed(c);
}

static bool bind_source(struct ga_connect *c, const struct ga_sockaddr *source)
{
	static const int on = 1;
	char text[GA_SOCKADDR_TEXT];

	if (source == NULL || source->len == 0)
		return true;
	ga_sockaddr_text(source, false, text);
	if (source->u.sa.sa_family != c->remote.u.sa.sa_family) {
		fail(c, EAFNOSUPPORT, "source address %s is not of the destination's family", text);
		return false;
	}
	/* The port is chosen by connect(), which knows the destination: 28,000 ports a
	 * destination instead of 28,000 in all. */
	(void)setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	if (bind(c->fd, &source->u.sa, source->len) == 0)
		return true;
	if (errno == EADDRNOTAVAIL)
		fail(c, errno, "source address %s is not on this machine", text);
	else
		fail(c, errno, "source address %s: %s", text, strerrordesc_np(errno));
	return false;
}

/* Sets c->code when it failed at once. */
static void begin(struct ga_connect *c, const struct ga_sockaddr *source)
{
	if (c->remote.u.sa.sa_family != AF_INET && c->remote.u.sa.sa_family != AF_INET6) {
		fail(c, EAFNOSUPPORT, "connect: not an Internet address");
		return;
	}
	c->fd = socket(c->remote.u.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		fail(c, errno, "socket: %s", strerrordesc_np(errno));
		return;
	}
	if (!bind_source(c, source))
		return;
	if (connect(c->fd, &c->remote.u.sa, c->remote.len) == 0 || errno == EINPROGRESS)
		return;
	if (errno == EADDRNOTAVAIL)
		fail(c, errno, "connect: no local port is free for this destination");
	else
		fail(c, errno, "connect: %s", strerrordesc_np(errno));
}

struct ga_connect *ga_connect(struct ga_worker *w, const struct ga_sockaddr *remote,
    const struct ga_sockaddr *source, uint32_t timeout_ms, ga_connect_fn *cb, void *arg)
{
	struct ga_connect *c = ga_xcalloc(1, sizeof(*c));
	struct ev_loop *ev = gac_loop_ev(w);

	c->worker = w;
	c->fd = -1;
	c->timeout_ms = timeout_ms;
	c->remote = *remote;
	c->cb = cb;
	c->arg = arg;
	begin(c, source);
	ev_io_init(&c->io, writable, c->fd, EV_WRITE);
	c->io.data = c;
	if (c->code == 0)
		ev_io_start(ev, &c->io);
	ev_timer_init(&c->timer, timer_fired, c->code != 0 ? 0. : (double)timeout_ms / 1000., 0.);
	c->timer.data = c;
	ev_timer_start(ev, &c->timer);
	return c;
}

void ga_connect_cancel(struct ga_connect *c)
{
	if (c != NULL)
		free_attempt(c);
}
