/*
 * wire.h - a TCP connection with buffers, on libev, in the clear or in TLS.
 *
 * Both bench tools hold one struct wire a session, embedded in the session.
 * All calls are made on the one loop.  A wire never calls back from inside a
 * call of its owner: callbacks come from the loop only.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <ev.h>
#include <gnutls/gnutls.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct wire;

/*
 * input returns false when it closed the wire, which may be freed by then.
 * After gone the wire is closed already; the owner may free it.
 */
struct wire_ops {
	void (*up)(struct wire *);	/* connected, or the TLS handshake is done */
	bool (*input)(struct wire *);	/* there are new bytes in in[in_at .. in_end) */
	void (*drained)(struct wire *);	/* all output is with the kernel; may be NULL */
	void (*gone)(struct wire *, const char *why);
};

enum wire_state { WIRE_CLOSED, WIRE_CONNECTING, WIRE_OPEN, WIRE_HANDSHAKE };

struct wire {
	enum wire_state state;
	bool paused;		/* input is left in the kernel */
	bool broken;		/* sending failed; reading will tell why */
	int fd;
	int events;		/* what io waits for */
	ev_io io;
	gnutls_session_t tls;
	unsigned char *in;
	size_t in_cap, in_at, in_end;
	unsigned char *out;
	size_t out_cap, out_at, out_end;
	const struct wire_ops *ops;
};

/* Every wire starts with this; in_cap is the longest piece of input it can hold. */
void wire_init(struct wire *, const struct wire_ops *, size_t in_cap);

/* Take over a connected socket, or start to connect one (source may be NULL). */
void wire_accepted(struct wire *, int fd);
int wire_connect(struct wire *, const struct sockaddr *to, socklen_t to_len,
	const struct sockaddr *from, socklen_t from_len);
/* Close; input and output not yet handled are dropped.  Buffers stay for the next use. */
void wire_close(struct wire *);
void wire_free(struct wire *);

/*
 * The next line without its end, or false.  The line is NUL-terminated and valid
 * until the next input.  A bare LF ends a line too: these are tools, not servers.
 */
bool wire_line(struct wire *, char **line, size_t *len);
/* Input is full and holds no whole line: the peer sends nonsense. */
bool wire_overlong(const struct wire *);

/* Add to the output; nothing is sent before wire_flush(). */
void wire_put(struct wire *, const void *, size_t);
void wire_puts(struct wire *, const char *);
void wire_flush(struct wire *);
static inline size_t
wire_unsent(const struct wire *w)
{
	return w->out_end - w->out_at;
}

/* Stop reading, and go on.  Going on delivers at least one input callback. */
void wire_pause(struct wire *);
void wire_resume(struct wire *);

/* Begin TLS; plaintext input that is waiting is dropped.  `up` says when it is done. */
void wire_tls_client(struct wire *, gnutls_certificate_credentials_t);
void wire_tls_server(struct wire *, gnutls_certificate_credentials_t);

/* Microseconds of the monotonic clock, which is the same in all processes. */
uint64_t wire_now_us(void);

/* "ADDRESS:PORT" into a buffer of WIRE_ADDR_TEXT bytes. */
#define WIRE_ADDR_TEXT 64
void wire_addr_text(const struct sockaddr *, char *text, bool with_port);
/*
 * HOST:PORT or [HOST]:PORT resolved to a TCP address.  Returns NULL when it
 * worked, else what is wrong.
 */
const char *wire_resolve(const char *text, bool passive, struct sockaddr_storage *,
	socklen_t *len);

#endif
