/*
 * fake.h - a loop, services and a peer for tests of the whole module: time stands
 * still unless told, the spool answers when told, the peer says what a test says.
 */
#ifndef SMTP_CLIENT_TESTS_FAKE_H
#define SMTP_CLIENT_TESTS_FAKE_H

#include "../client.h"

struct ga_settings {
	struct smtpc_conf conf;
	struct ga_plan plan;
};

#define FAKE_TICKETS 512
struct fake_result {
	uint64_t envelope_id;
	enum ga_result result;
	unsigned code;
	bool network, recorded, relayed;
	enum ga_attempt_stage stage;
	char enhanced[12], text[300], mx[40];
	uint64_t since_ms;
};

struct fake {
	struct ga_settings settings;
	/* the peer */
	size_t ntx;			/* octets in tx */
	size_t write_room;		/* octets the stream still takes */
	struct ga_stream *stream;	/* open now, NULL: none */
	unsigned connects, closes, handshakes;
	bool in_handshake;
	struct ga_sockaddr connected_to;
	bool opening;
	/* services */
	unsigned closed;		/* throttle->closed() */
	unsigned ended;			/* tickets of throttle->ended() */
	struct ga_batch next;		/* what throttle->next() gives */
	bool hold_dones;		/* the spool keeps DONEs until fake_durable() */
	unsigned dones;			/* asked */
	struct ga_body *spooled;	/* what read and read_body give */
	unsigned reads, piece_reads;
	/* hook outgoing, when fake_hook() was called */
	enum ga_verdict verdict;
	unsigned asked, cancelled;
	const char *edited;		/* what it makes of the message; NULL: nothing */
	struct ga_run *suspended;
	/* hook result, when fake_result_hook() was called; what the last event said */
	enum ga_verdict amend[FAKE_TICKETS];	/* by envelope */
	struct ga_reply amended;		/* code 0 and no text: none */
	unsigned amends, told;			/* calls of result, attempt_done */
	enum ga_outcome outcome;		/* of attempt_done */
	char reply[300], line[300];		/* of attempt_done */
	enum ga_attempt_status asked_status, status;	/* of result, of attempt_done */
	enum ga_queue_state queue;		/* of attempt_done, as these */
	uint32_t phase_ms[GA_PHASES];
	char extensions[100], hostname[100];
	unsigned ended_as[GA_RESULT_RECALLED + 1];	/* throttle->ended(), by result */
	unsigned updates;			/* of the spool */
	unsigned answers;		/* of the control socket, since fake_ask() */
	/* results, in the order of coming home */
	struct fake_result results[FAKE_TICKETS];
	unsigned nresults;
	char answer[1u << 18];		/* the control socket's */
	char tx[1u << 20];		/* what was sent to the peer and not yet looked at */
};
extern struct fake fake;

/* Starts the module on one loop; ends it and checks that nothing is left. */
void fake_begin(void);
void fake_end(void);
/* Runs what was posted and what is due. */
void fake_run(void);
void fake_advance(uint64_t ms);
/* The daemon stops; 20 seconds are left. */
void fake_drain(void);

/* A route to nhosts hosts mx0, mx1 … (127.0.0.1, 127.0.0.2 …), preference = index. */
struct ga_route *fake_route(const char *domain, unsigned nhosts);
/* A message and its tickets: "r0@domain", "r1@domain" … in_memory false: only the
 * spool has it. */
struct ga_batch fake_batch(struct ga_route *, const char *body, unsigned n, bool in_memory);

void fake_open(struct ga_batch);
bool fake_offer(struct ga_batch);
void fake_discard(struct ga_batch);	/* back home unused */
void fake_accept(void);			/* the connection that is being opened is there */
void fake_refuse(void);			/* … is refused */
void fake_says(const char *text);
void fake_says_n(const char *p, size_t n);
void fake_eof(void);
void fake_tls(const char *err);		/* the handshake ends */
void fake_hook(enum ga_verdict, const char *edited);
void fake_result_hook(void);		/* result and attempt_done are wanted */
void fake_answer(enum ga_verdict);	/* to the suspended question */
void fake_durable(void);		/* all DONEs are durable */
/* What was sent since the last look: must be this. */
void fake_expect(const char *text);
bool fake_sent_anything(void);
/* A command of the control socket, its arguments in JSON; the answer's lines. */
const char *fake_ask(const char *command, const char *args);

#endif
