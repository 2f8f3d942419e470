/*
 * world.h - a session of the real code with a client, an intake and a spool in memory.
 *
 * For tests and the fuzzer: no socket, no thread; nothing happens but what the test
 * does.  The client's octets are handed over in pieces of at most `piece`, so that
 * every dialogue can be had in every split.  The stream takes at most `takes` octets
 * until the client reads.
 */
#ifndef SMTPD_WORLD_H
#define SMTPD_WORLD_H

#include "../session.h"

#define WORLD_OUT (4u * 1024u * 1024u)
#define WORLD_MESSAGES 64u

struct world_message {
	struct ga_str text;		/* with the trace field */
	struct ga_str sender, rcpts;	/* rcpts: blank separated */
	uint32_t id, flags, header_size;
	size_t nrcpts;
	struct ga_str attrs;		/* packed, as the server gave them */
	struct ga_rcpt first;		/* the first recipient; its strings live as long as the rest */
};

struct world {
	struct ga_snapshot *snapshot;
	struct smtpd_service service;
	struct smtpd_gen *gen;
	struct smtpd_conf conf;		/* may be changed before world_connect() */
	struct smtpd_worker *worker;
	bool relays;
	bool tls_first, proxied;	/* of the next connection: listen_tls, a PROXY header */

	/* the client's side */
	const char *send;		/* not yet read by the server */
	size_t nsend, piece, takes;
	bool closes;			/* after what it sends */
	bool fails;			/* the connection breaks at the next read */
	bool connected;			/* false: the server has closed */
	bool tls_wanted, tls_on;
	bool holds_tls;			/* a handshake does not end */
	bool stays;			/* world_send() stops when a helper thread is at work */
	char *out;			/* what the server said */
	size_t nout;

	/* intake and spool */
	bool answers_late;		/* submit waits for world_answer() */
	enum ga_verdict verdict;
	struct ga_reply reply;
	int room;			/* errno of the spool */
	struct ga_intake_submit *waiting;
	uint32_t last_id;
	unsigned reserved;		/* ids drawn and not given back */
	struct world_message messages[WORLD_MESSAGES];
	size_t nmessages;
	unsigned pieces_waiting;
	int piece_error;
	unsigned uploads;		/* alive */
	struct ga_pool *pool;		/* of the messages */
};

/* A configuration of nothing but these blocks. */
struct ga_snapshot *world_load(const char *blocks) GA_NODISCARD;
/* statements: of the smtp_service block, one a line. */
struct world *world_new(const char *statements);
void world_free(struct world *);
void world_connect(struct world *);
/* fn (of the type that the hook has in struct ga_hooks) is asked from now on; NULL: nobody. */
void world_hook(struct world *, enum ga_hook_id, void (*fn)(void));
/* One turn of the loop: what was resumed goes on. */
void world_turn(struct world *);
/* The client sends; all that can happen happens. */
void world_send(struct world *, const char *, size_t n);
#define world_say(w, text) world_send((w), (text), strlen(text))
/* Intake's answer to what waits. */
void world_answer(struct world *);
/* What the server has said since the last call, NUL-terminated. */
const char *world_heard(struct world *);
/* What stands below our Received field, which holds the time. */
struct ga_str world_after_trace(struct ga_str text);
void world_disconnect(struct world *);
/* The spool has written what was given to it. */
void world_write_pieces(struct world *);

#endif
