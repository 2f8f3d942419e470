/*
 * stream.h - a stream over a socket, as its files know it: stream_fd.c (the
 * socket), stream_tls.c (TLS on it).
 */
#ifndef CORE_NET_STREAM_H
#define CORE_NET_STREAM_H

#include <ev.h>

#include <greenarrow/net.h>

struct fd_tls;

struct fd_stream {
	struct ga_stream s;
	struct ev_io io;		/* io.fd is ours */
	unsigned want;			/* GA_READ, GA_WRITE, as the owner asked */
	struct fd_tls *tls;		/* NULL: plain */
	struct ga_stream_info info;
};

/* Watches what is wanted by the owner and needed by TLS. */
void gac_stream_arm(struct fd_stream *);
/* Tells the owner; the stream may be gone when it returns. */
void gac_stream_ready(struct fd_stream *, unsigned events);

/* Begins the handshake; its end comes by tls_done. */
void gac_tls_begin(struct fd_stream *, const struct ga_tls_params *);
/* libev events that TLS needs, whatever the owner wants; *only: and no others. */
int gac_tls_events(const struct fd_tls *, bool *only);
/* The socket is ready.  True: *events may be given to the owner. */
bool gac_tls_io(struct fd_stream *, unsigned *events);
ssize_t gac_tls_read(struct fd_stream *, void *, size_t);
ssize_t gac_tls_writev(struct fd_stream *, const struct iovec *, int);
/* The owner wants to read: octets may lie decrypted already. */
void gac_tls_want(struct fd_stream *);
void gac_tls_end(struct fd_stream *, bool abort);

#endif
