/*
 * net.h - listeners, streams, TLS.  Level strict.
 *
 * A stream is a non-blocking connection seen through one struct of functions, so
 * that direct connections, HAProxy and the GreenArrow Proxy look alike.  It lives
 * on one loop.  Nothing here blocks.
 */
#ifndef GREENARROW_NET_H
#define GREENARROW_NET_H

#include <sys/socket.h>
#include <sys/uio.h>

#include <greenarrow/ga_hook.h>
#include <greenarrow/loop.h>

GA_BEGIN

/* --- addresses --- */
struct ga_sockaddr {
	socklen_t len;
	union { struct sockaddr sa; struct sockaddr_storage ss; } u;
};
/* "192.0.2.1", "[2001:db8::1]:25", "127.0.0.1:25"; port when none is written. */
GA_EXPORT bool ga_sockaddr_parse(struct ga_sockaddr *, struct ga_str, uint16_t port);
/* "192.0.2.1:25", "[2001:db8::1]:25" with port, else the address alone. */
#define GA_SOCKADDR_TEXT 72
GA_EXPORT const char *ga_sockaddr_text(const struct ga_sockaddr *, bool with_port,
    char buf[GA_SOCKADDR_TEXT]);
GA_EXPORT uint16_t ga_sockaddr_port(const struct ga_sockaddr *);
GA_EXPORT void ga_sockaddr_set_port(struct ga_sockaddr *, uint16_t);
GA_EXPORT bool ga_sockaddr_equal(const struct ga_sockaddr *, const struct ga_sockaddr *,
    bool with_port);
/* A set of CIDR blocks ("127.0.0.0/8", "[::1]", "192.0.2.1", "2001:db8::/32"). */
struct ga_cidr { uint8_t family, bits; uint8_t addr[16]; };
GA_EXPORT bool ga_cidr_parse(struct ga_cidr *, struct ga_str);
/* IPv4-mapped IPv6 addresses match as IPv4. */
GA_EXPORT bool ga_cidr_match(const struct ga_cidr *, const struct ga_sockaddr *);

/* --- listeners --- */
/*
 * Declare, in init and in reload(), every address to listen on.  An address that
 * was open before stays open; those not declared again are accepted to EAGAIN
 * and closed when the reload takes effect.  False: the address cannot be bound;
 * reason has been written to err.  accepted() runs on the worker loop with the
 * fewest sessions; it owns fd (non-blocking, close-on-exec).  Only modules with
 * GA_KEEP_INSTANCE listen: sockets may be under way to a loop during a reload.
 */
typedef void ga_accept_fn(struct ga_inst *, struct ga_worker *, int fd,
    const struct ga_sockaddr *peer, const struct ga_sockaddr *local, void *arg);
GA_EXPORT bool ga_listen(struct ga_inst *, struct ga_str address, ga_accept_fn *accepted,
    void *arg, char *err, size_t errlen);
/* Accept no more (true) or again (false), without closing: pausing, draining.  Any loop. */
GA_EXPORT void ga_listen_pause(struct ga_inst *, bool);
/* One address of a group, and who gets its sockets. */
struct ga_listen_on {
	struct ga_str address;		/* as for ga_listen(); read within the call */
	ga_accept_fn *accepted;
};
/*
 * Between reloads: the listeners that were declared with this inst and arg become
 * these n (0: none), all or nothing.  One that stays keeps its descriptor, one that goes
 * is accepted to EAGAIN and closed.  Main loop.  0: done.  -EBUSY: a start or reload is
 * declaring listeners at this moment; try again later.  -ESHUTDOWN: the daemon stops.
 * -EADDRNOTAVAIL: nothing has changed, the reason has been written to err.
 */
GA_EXPORT int ga_listen_group(struct ga_inst *, void *arg, const struct ga_listen_on *, size_t n,
    char *err, size_t errlen) GA_NODISCARD;

/* --- TLS credentials --- */
struct ga_tls_server;			/* certificate, key, tickets of one listener; ref-counted */
GA_EXPORT struct ga_tls_server *ga_tls_server_new(const char *cert_file,
    const char *key_file, char *err, size_t errlen) GA_NODISCARD;
GA_EXPORT struct ga_tls_server *ga_tls_server_ref(struct ga_tls_server *);
GA_EXPORT void ga_tls_server_unref(struct ga_tls_server *);

struct ga_tls_params {
	struct ga_tls_server *server;	/* set: we are the server */
	struct ga_str server_name;	/* client: SNI and name to verify; only if a host name */
	bool verify;			/* client: require a certificate of that name */
	struct ga_str resume_key;	/* client: sessions are resumed within this key ("" = not),
					   server_name and verify */
	uint32_t timeout_ms;		/* of the handshake; 0 = 60 s */
	struct ga_str alpn;		/* client: protocol to agree on; server: the only one taken
					   when the client names any ("" = none) */
};

/* --- streams --- */
struct ga_stream;
struct ga_stream_info {
	struct ga_sockaddr local, remote;
	bool tls, tls_verified, tls_resumed;	/* verified: only when it was asked for */
	char tls_version[16];		/* "TLS1.3" */
	char tls_cipher[64];		/* "TLS_AES_256_GCM_SHA384" */
	char tls_peer[128];		/* subject's name, escaped */
	char tls_verify_error[160];	/* why tls_verified is false */
};
/* events that came; ready is never called from inside another ga_stream_ function. */
typedef void ga_stream_fn(struct ga_stream *, unsigned events, void *arg);
/* err: NULL = done, else a sentence for the log; the stream is then only good for close. */
typedef void ga_stream_tls_fn(struct ga_stream *, const char *err, void *arg);

struct ga_stream_ops {
	uint32_t size;
	ssize_t (*read)(struct ga_stream *, void *, size_t);
	ssize_t (*writev)(struct ga_stream *, const struct iovec *, int);
	void (*want)(struct ga_stream *, unsigned events);
	void (*starttls)(struct ga_stream *, const struct ga_tls_params *);
	const struct ga_stream_info *(*info)(struct ga_stream *);
	bool (*save)(struct ga_stream *);
	void (*close)(struct ga_stream *, bool abort);
};
/* Head of every stream; the rest is the provider's. */
struct ga_stream {
	const struct ga_stream_ops *ops;
	struct ga_worker *worker;
	ga_stream_fn *ready;
	ga_stream_tls_fn *tls_done;
	void *arg;
};
/* A stream over a connected socket; owns fd.  arg goes to ready and tls_done. */
GA_EXPORT struct ga_stream *ga_stream_fd(struct ga_worker *, int fd,
    const struct ga_sockaddr *peer, const struct ga_sockaddr *local) GA_NODISCARD;
/*
 * read:   octets, 0 at the peer's end, -EAGAIN, or another -errno (TLS errors: -EPROTO)
 * writev: octets taken (may be fewer), -EAGAIN, or another -errno; what was taken
 *         goes out without further calls
 * want:   GA_READ and/or GA_WRITE; level triggered (also when octets lie decrypted
 *         inside TLS); 0 = no events
 * starttls: handshake; ends in tls_done on the loop, never inside the call.  What the
 *         peer sends after this point must be TLS; the caller checks that its own
 *         buffer is empty (plaintext injection)
 * save:   tells a transport that the session is idle and may be shared; false = keep it
 * close:  frees the stream; abort = RST, no TLS close_notify.  Allowed in ready and
 *         tls_done
 * TLS is 1.2 or 1.3, without renegotiation.  Once it has ended, by the peer's
 * close_notify or by an error, nothing more is read or written.
 */
static inline ssize_t ga_stream_read(struct ga_stream *s, void *p, size_t n)
{ return s->ops->read(s, p, n); }
static inline ssize_t ga_stream_writev(struct ga_stream *s, const struct iovec *v, int n)
{ return s->ops->writev(s, v, n); }
static inline void ga_stream_want(struct ga_stream *s, unsigned events)
{ s->ops->want(s, events); }
static inline void ga_stream_starttls(struct ga_stream *s, const struct ga_tls_params *p)
{ s->ops->starttls(s, p); }
static inline const struct ga_stream_info *ga_stream_info(struct ga_stream *s)
{ return s->ops->info(s); }
static inline void ga_stream_close(struct ga_stream *s, bool abort)
{ s->ops->close(s, abort); }

/* --- connecting (what transport_direct is made of) --- */
struct ga_connect;			/* one attempt, opaque */
/* stream NULL: err says why ("connect: Connection refused", "source address
 * 192.0.2.9 is not on this machine").  code: errno. */
typedef void ga_connect_fn(struct ga_worker *, struct ga_stream *, int code,
    const char *err, void *arg);
/* source->len 0: the system chooses.  Uses IP_BIND_ADDRESS_NO_PORT.  Ends in exactly
 * one cb on the loop, never inside the call, unless cancelled. */
GA_EXPORT struct ga_connect *ga_connect(struct ga_worker *, const struct ga_sockaddr *remote,
    const struct ga_sockaddr *source, uint32_t timeout_ms, ga_connect_fn *, void *arg)
    GA_NODISCARD;
GA_EXPORT void ga_connect_cancel(struct ga_connect *);

GA_END

#endif
