/*
 * wire.c - see wire.h.  Runs on the default loop of the tool that uses it.
 * A wire owns its descriptor, both buffers and its TLS session.
 *
 * One read a readiness event, into a fixed buffer; output goes to the kernel at
 * wire_flush() and waits for EV_WRITE only when the kernel is full.  That is one
 * system call each way for a group of pipelined commands, which is what lets one
 * core drive tens of thousands of messages a second.
 *
 * Known limit: a peer that closes while TLS output is waiting loses that output.
 */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OUT_START 1024

static void on_io(EV_P_ ev_io *io, int revents);

uint64_t
wire_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

void
wire_init(struct wire *w, const struct wire_ops *ops, size_t in_cap)
{
	memset(w, 0, sizeof *w);
	w->ops = ops;
	w->fd = -1;
	w->in_cap = in_cap;
	/* One more for the NUL that ends a line. */
	w->in = malloc(in_cap + 1);
	w->out_cap = OUT_START;
	w->out = malloc(w->out_cap);
	if (!w->in || !w->out)
		abort();
	ev_init(&w->io, on_io);
}

/* Wait for these events; a system call only when they change. */
static void
want(struct wire *w, int events)
{
	if (w->events == events)
		return;
	ev_io_stop(EV_DEFAULT_UC_ &w->io);
	w->events = events;
	if (!events)
		return;
	ev_io_set(&w->io, w->fd, events);
	ev_io_start(EV_DEFAULT_UC_ &w->io);
}

static void
want_what_is_due(struct wire *w)
{
	want(w, (w->paused ? 0 : EV_READ) | (wire_unsent(w) ? EV_WRITE : 0));
}

static void
opened(struct wire *w, int fd)
{
	int on = 1;

	w->fd = fd;
	w->in_at = w->in_end = 0;
	w->out_at = w->out_end = 0;
	w->paused = w->broken = false;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

void
wire_accepted(struct wire *w, int fd)
{
	opened(w, fd);
	w->state = WIRE_OPEN;
	want(w, EV_READ);
}

int
wire_connect(struct wire *w, const struct sockaddr *to, socklen_t to_len,
	const struct sockaddr *from, socklen_t from_len)
{
	int on = 1, fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (from) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
		if (bind(fd, from, from_len) < 0)
			goto failed;
	}
	if (connect(fd, to, to_len) < 0 && errno != EINPROGRESS)
		goto failed;
	opened(w, fd);
	w->state = WIRE_CONNECTING;
	want(w, EV_WRITE);
	return 0;
failed:
	on = errno;
	close(fd);
	return -on;
}

void
wire_close(struct wire *w)
{
	if (w->fd < 0)
		return;
	want(w, 0);
	ev_clear_pending(EV_DEFAULT_UC_ &w->io);
	if (w->tls)
		gnutls_deinit(w->tls);
	w->tls = NULL;
	close(w->fd);
	w->fd = -1;
	w->state = WIRE_CLOSED;
}

void
wire_free(struct wire *w)
{
	wire_close(w);
	free(w->in);
	free(w->out);
	w->in = w->out = NULL;
}

static void
lost(struct wire *w, const char *why)
{
	wire_close(w);
	w->ops->gone(w, why);
}

bool
wire_line(struct wire *w, char **line, size_t *len)
{
	unsigned char *start = w->in + w->in_at, *end;

	end = memchr(start, '\n', w->in_end - w->in_at);
	if (!end)
		return false;
	w->in_at = (size_t)(end - w->in) + 1;
	if (end > start && end[-1] == '\r')
		end--;
	*end = '\0';
	*line = (char *)start;
	*len = (size_t)(end - start);
	return true;
}

bool
wire_overlong(const struct wire *w)
{
	return w->in_at == 0 && w->in_end == w->in_cap;
}

void
wire_put(struct wire *w, const void *data, size_t len)
{
	if (w->broken)
		return;
	if (w->out_at == w->out_end)
		w->out_at = w->out_end = 0;
	if (w->out_end + len > w->out_cap && w->out_at) {
		memmove(w->out, w->out + w->out_at, wire_unsent(w));
		w->out_end -= w->out_at;
		w->out_at = 0;
	}
	if (w->out_end + len > w->out_cap) {
		while (w->out_end + len > w->out_cap)
			w->out_cap *= 2;
		w->out = realloc(w->out, w->out_cap);
		if (!w->out)
			abort();
	}
	memcpy(w->out + w->out_end, data, len);
	w->out_end += len;
}

void
wire_puts(struct wire *w, const char *text)
{
	wire_put(w, text, strlen(text));
}

/* Returns what was sent, 0 when the kernel is full, -1 when the connection is dead. */
static ssize_t
send_some(struct wire *w)
{
	ssize_t n;

	if (w->tls) {
		n = gnutls_record_send(w->tls, w->out + w->out_at, wire_unsent(w));
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
			return 0;
		return n < 0 ? -1 : n;
	}
	n = send(w->fd, w->out + w->out_at, wire_unsent(w), MSG_NOSIGNAL);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n;
}

void
wire_flush(struct wire *w)
{
	ssize_t n;

	if (w->state != WIRE_OPEN)
		return;
	while (wire_unsent(w) && (n = send_some(w)) != 0) {
		if (n < 0) {
			w->broken = true;
			w->out_at = w->out_end = 0;
			break;
		}
		w->out_at += (size_t)n;
	}
	want_what_is_due(w);
}

void
wire_pause(struct wire *w)
{
	w->paused = true;
	want_what_is_due(w);
}

void
wire_resume(struct wire *w)
{
	w->paused = false;
	want_what_is_due(w);
	ev_feed_event(EV_DEFAULT_UC_ &w->io, EV_READ);
}

static void
shake_hands(struct wire *w)
{
	int ret = gnutls_handshake(w->tls);

	if (ret == GNUTLS_E_SUCCESS) {
		w->state = WIRE_OPEN;
		want(w, EV_READ);
		w->ops->up(w);
	} else if (gnutls_error_is_fatal(ret)) {
		lost(w, gnutls_strerror(ret));
	} else {
		want(w, gnutls_record_get_direction(w->tls) ? EV_WRITE : EV_READ);
	}
}

static void
begin_tls(struct wire *w, unsigned side, gnutls_certificate_credentials_t cred)
{
	if (gnutls_init(&w->tls, side | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0 ||
	    gnutls_set_default_priority(w->tls) < 0 ||
	    gnutls_credentials_set(w->tls, GNUTLS_CRD_CERTIFICATE, cred) < 0)
		abort();
	gnutls_transport_set_int(w->tls, w->fd);
	w->in_at = w->in_end = 0;
	w->state = WIRE_HANDSHAKE;
	/* Not from here: a callback inside a call of the owner is not allowed. */
	ev_feed_event(EV_DEFAULT_UC_ &w->io, EV_READ);
}

void
wire_tls_client(struct wire *w, gnutls_certificate_credentials_t cred)
{
	begin_tls(w, GNUTLS_CLIENT, cred);
}

void
wire_tls_server(struct wire *w, gnutls_certificate_credentials_t cred)
{
	begin_tls(w, GNUTLS_SERVER, cred);
}

/* Returns bytes read, 0 for "nothing now", -1 when the connection ended (*why set). */
static ssize_t
receive(struct wire *w, const char **why)
{
	size_t room = w->in_cap - w->in_end;
	ssize_t n;

	if (w->tls) {
		n = gnutls_record_recv(w->tls, w->in + w->in_end, room);
		if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
			return 0;
		*why = n == 0 ? "closed by peer" : gnutls_strerror((int)n);
		return n > 0 ? n : -1;
	}
	n = recv(w->fd, w->in + w->in_end, room, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	*why = n == 0 ? "closed by peer" : strerror(errno);
	return n > 0 ? n : -1;
}

static void
make_room(struct wire *w)
{
	if (w->in_at == w->in_end) {
		w->in_at = w->in_end = 0;
	} else if (w->in_at && w->in_end == w->in_cap) {
		memmove(w->in, w->in + w->in_at, w->in_end - w->in_at);
		w->in_end -= w->in_at;
		w->in_at = 0;
	}
}

static void
read_ready(struct wire *w)
{
	const char *why;
	ssize_t n;

	do {
		make_room(w);
		n = w->in_end < w->in_cap ? receive(w, &why) : 0;
		if (n < 0) {
			lost(w, why);
			return;
		}
		w->in_end += (size_t)n;
		if (!w->ops->input(w))
			return;
		/* TLS may hold a decrypted rest that no event will announce. */
	} while (w->tls && w->state == WIRE_OPEN && !w->paused &&
		gnutls_record_check_pending(w->tls));
}

static void
finish_connect(struct wire *w)
{
	int error = 0;
	socklen_t len = sizeof error;

	if (getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error) {
		lost(w, strerror(error));
		return;
	}
	w->state = WIRE_OPEN;
	want(w, EV_READ);
	w->ops->up(w);
}

static void
on_io(EV_P_ ev_io *io, int revents)
{
	struct wire *w = (struct wire *)(void *)((char *)io - offsetof(struct wire, io));

	(void)EV_A;
	if (w->state == WIRE_CONNECTING) {
		finish_connect(w);
		return;
	}
	if (w->state == WIRE_HANDSHAKE) {
		shake_hands(w);
		return;
	}
	if (revents & EV_WRITE) {
		wire_flush(w);
		if (!wire_unsent(w) && w->ops->drained)
			w->ops->drained(w);
	}
	if (w->state == WIRE_OPEN && (revents & EV_READ) && !w->paused)
		read_ready(w);
}

void
wire_addr_text(const struct sockaddr *sa, char *text, bool with_port)
{
	char host[INET6_ADDRSTRLEN] = "?";
	unsigned port = 0;

	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const void *)sa;

		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof host);
		port = ntohs(in6->sin6_port);
	} else {
		const struct sockaddr_in *in4 = (const void *)sa;

		inet_ntop(AF_INET, &in4->sin_addr, host, sizeof host);
		port = ntohs(in4->sin_port);
	}
	if (!with_port)
		snprintf(text, WIRE_ADDR_TEXT, "%s", host);
	else
		snprintf(text, WIRE_ADDR_TEXT, sa->sa_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host,
			port);
}

const char *
wire_resolve(const char *text, bool passive, struct sockaddr_storage *to, socklen_t *len)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = passive ? AI_PASSIVE : 0 };
	struct addrinfo *found;
	char host[256];
	const char *colon = strrchr(text, ':'), *start = text;
	size_t host_len;
	int ret;

	if (!colon || !colon[1])
		return "not HOST:PORT";
	host_len = (size_t)(colon - text);
	if (host_len >= 2 && text[0] == '[' && text[host_len - 1] == ']') {
		start++;
		host_len -= 2;
	}
	if (host_len >= sizeof host)
		return "host name too long";
	memcpy(host, start, host_len);
	host[host_len] = '\0';
	ret = getaddrinfo(host_len ? host : NULL, colon + 1, &hints, &found);
	if (ret)
		return gai_strerror(ret);
	memcpy(to, found->ai_addr, found->ai_addrlen);
	*len = found->ai_addrlen;
	freeaddrinfo(found);
	return NULL;
}
