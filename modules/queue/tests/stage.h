/*
 * stage.h - the module queue on the test bed: a router, a throttle, a spool and modules
 * with hooks that do what the test says.
 *
 * Nothing happens but what a test does; clocks stand still; random numbers are drawn
 * from a seed.  Tickets wait in the throttle, in the order they came, until the test
 * ends them.  stage_check() compares everything that the queue counts and links with a
 * recount.
 */
#ifndef QUEUE_STAGE_H
#define QUEUE_STAGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <greenarrow/service/control.h>

#include "../queue.h"
#include "bed.h"
#include "spool_memory.h"

#define STAGE_DAY (86400 * UINT64_C(1000))

struct stage {
	/* the router */
	enum ga_route_kind kind;
	enum ga_route_kind (*kind_of)(struct ga_str domain);	/* NULL: kind */
	const char *group;		/* key of all routes; NULL: none */
	bool routes_late;		/* answers wait for stage_routes() */
	unsigned routed;		/* questions answered */
	struct ga_route_request *asking;	/* by private_ */
	/* the throttle */
	struct ga_ticket *first, **last;
	unsigned ntickets, recalls;
	bool keeps_recalled;		/* recall hands nothing back: all is in flight */
	void (*recalling)(void);	/* asked for inside recall() */
	/* hooks; only after stage_up_hooked() */
	enum ga_verdict (*commit)(struct ga_call *, const struct ga_ev_commit *);
	enum ga_verdict (*schedule)(struct ga_call *, const struct ga_ev_schedule *);
	unsigned queued;		/* message_queued */
	void (*told)(struct ga_call *, const struct ga_ev_attempt *);	/* attempt_done */
	/* looks at each request before the spool has it */
	void (*on_update)(struct ga_worker *, const struct ga_spool_update *);
	void (*on_done)(struct ga_worker *, const struct ga_spool_done *);
	bool reads_hang;		/* it never answers a read */
	uint64_t seed;
};
extern struct stage stage;

void stage_up(const char *conf);			/* an empty spool */
void stage_up_hooked(const char *conf);
/* The process ends without a word and starts again on what the spool has. */
void stage_kill(void);
void stage_start(const char *conf);
void stage_restart(const char *conf);		/* both */
void stage_down(void);				/* stage_kill() and nothing is left */

/* Setup and teardown for cmocka: no configuration, no hooks. */
int stage_setup(void **);
int stage_setup_hooked(void **);
int stage_teardown(void **);
#define STAGE_TEST(name) cmocka_unit_test_setup_teardown(name, stage_setup, stage_teardown)
#define STAGE_TEST_HOOKED(name) cmocka_unit_test_setup_teardown(name, stage_setup_hooked, stage_teardown)

/* --- mail in --- */

struct stage_mail {
	const char *sender, *vmta, *send, *from;	/* from: domain of the From field */
	const char *domain;			/* defaults; domain NULL: dN.example each */
	unsigned n;				/* recipients; 0: one */
	struct ga_spool_upload *upload;
	bool hold, discard;
};
struct stage_submit {
	struct ga_intake_submit s;
	struct ga_snapshot *snapshot;
	unsigned answers;
};
struct stage_submit *stage_submit(struct stage_mail);	/* not answered when it returns */
void stage_submit_free(struct stage_submit *);
/* Submits, waits for the answer, and for the queue to do what it can; the message's seq. */
uint64_t stage_accept(struct stage_mail);
/* As above, whatever the answer is: verdict and reply. */
struct ga_intake_submit stage_answer(struct stage_mail);
/* A message that the spool had at the last start. */
struct ga_message *stage_message(const struct stage_mail *, uint32_t id);
void stage_loaded(struct ga_message *);	/* ... and is there at the next */

/* --- tickets, routes --- */

void stage_end(struct ga_ticket *, enum ga_result);	/* does not wait */
unsigned stage_end_all(enum ga_result);			/* waits */
unsigned stage_tickets_to(const char *domain);
void stage_routes(void);

/* --- what is seen --- */

struct ga_queue_stats stage_stats(void);
struct spool_memory_counts stage_spool(void);
/* The envelope of a message that the spool has; false: it is not there. */
bool stage_recorded(uint64_t seq, uint32_t index, struct ga_envelope *, char reply[1001]);
struct q_envelope *stage_envelope(uint64_t seq, uint32_t index);
void stage_check(void);
uint64_t stage_wall(void);
/* Octets in all tables of the loop: what was allocated, and what is used of it. */
size_t stage_octets(bool used);
struct json_object *stage_status(void);		/* the queue's part of `status` */

/* --- hooks that wait: one at a time is remembered --- */

struct stage_wait {
	struct ga_token token;
	unsigned asked, resumed, cancelled;
	enum ga_why why;
	enum ga_verdict verdict;		/* when resumed */
};
extern struct stage_wait stage_wait;
enum ga_verdict stage_suspend(struct ga_call *);
void stage_resume(enum ga_verdict);

#endif
