/*
 * stream_fd.c - a stream over a connected socket (net.h).
 *
 * Made from accepted sockets and by ga_connect(); lives on one loop.  Owns the
 * descriptor.  Holds no octets: what is read goes into the caller's buffer, what
 * is written straight to the kernel, so an idle stream is one small object.
 * TLS, when it is on, is in stream_tls.c.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "loop/loop.h"
#include "net/stream.h"

/* Octets a peer may still have under way when we close: read away, so that the
 * kernel sends a FIN behind our last reply and not a RST in place of it. */
enum { DRAIN_READS = 16, DRAIN_OCTETS = 16 * 1024 };

static struct fd_stream *of(struct ga_stream *s)
{
	return GA_CONTAINER(s, struct fd_stream, s);
}

void gac_stream_arm(struct fd_stream *f)
{
	struct ev_loop *ev = gac_loop_ev(f->s.worker);
	bool only = false;
	int events = f->tls != NULL ? gac_tls_events(f->tls, &only) : 0;

	if (!only)
		events |= (f->want & GA_READ ? EV_READ : 0) | (f->want & GA_WRITE ? EV_WRITE : 0);
	if (ev_is_active(&f->io) && (f->io.events & (EV_READ | EV_WRITE)) == events)
		return;
	ev_io_stop(ev, &f->io);
	if (events == 0)
		return;
	ev_io_set(&f->io, f->io.fd, events);
	ev_io_start(ev, &f->io);
}

void gac_stream_ready(struct fd_stream *f, unsigned events)
{
	events &= f->want;
	if (events != 0)
		GAC_CALL(f->s.worker, f->s.ready, &f->s, events, f->s.arg);
}

static void socket_ready(struct ev_loop *ev, struct ev_io *io, int revents)
{
	struct fd_stream *f = io->data;
	unsigned events = (revents & EV_READ ? GA_READ : 0) | (revents & EV_WRITE ? GA_WRITE : 0);

	(void)ev;
	if (f->tls == NULL || gac_tls_io(f, &events))
		gac_stream_ready(f, events);
}

static ssize_t fd_read(struct ga_stream *s, void *p, size_t n)
{
	struct fd_stream *f = of(s);
	ssize_t r;

	if (f->tls != NULL)
		return gac_tls_read(f, p, n);
	do
		r = recv(f->io.fd, p, n, 0);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static ssize_t fd_writev(struct ga_stream *s, const struct iovec *v, int n)
{
	struct fd_stream *f = of(s);
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };
	ssize_t r;

	if (f->tls != NULL)
		return gac_tls_writev(f, v, n);
	do
		r = sendmsg(f->io.fd, &m, MSG_NOSIGNAL);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

static void fd_want(struct ga_stream *s, unsigned events)
{
	struct fd_stream *f = of(s);

	f->want = events;
	gac_stream_arm(f);
	if (f->tls != NULL)
		gac_tls_want(f);
}

static void fd_starttls(struct ga_stream *s, const struct ga_tls_params *p)
{
	gac_tls_begin(of(s), p);
}

static const struct ga_stream_info *fd_info(struct ga_stream *s)
{
	return &of(s)->info;
}

static bool fd_save(struct ga_stream *s)
{
	(void)s;
	return false;
}

static void drain(int fd)
{
	char dropped[DRAIN_OCTETS];

	for (int i = 0; i < DRAIN_READS; i++)
		if (recv(fd, dropped, sizeof(dropped), MSG_DONTWAIT) <= 0)
			return;
}

static void fd_close(struct ga_stream *s, bool abort)
{
	static const struct linger reset = { 1, 0 };
	struct fd_stream *f = of(s);
	int fd = f->io.fd;

	if (f->tls != NULL)
		gac_tls_end(f, abort);
	ev_io_stop(gac_loop_ev(s->worker), &f->io);
	if (abort)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	else
		drain(fd);
	close(fd);
	free(f);
}

static const struct ga_stream_ops fd_ops = {
	.size = sizeof(struct ga_stream_ops),
	.read = fd_read,
	.writev = fd_writev,
	.want = fd_want,
	.starttls = fd_starttls,
	.info = fd_info,
	.save = fd_save,
	.close = fd_close,
};

struct ga_stream *ga_stream_fd(struct ga_worker *w, int fd, const struct ga_sockaddr *peer,
    const struct ga_sockaddr *local)
{
	static const int on = 1;
	struct fd_stream *f = ga_xcalloc(1, sizeof(*f));

	f->s.ops = &fd_ops;
	f->s.worker = w;
	f->info.remote = *peer;
	f->info.local = *local;
	/* We write whole commands, replies and blocks: nothing is gained by waiting. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	ev_io_init(&f->io, socket_ready, fd, 0);
	f->io.data = f;
	return &f->s;
}
