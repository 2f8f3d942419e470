/*
 * throttle_rig.h - the throttle on the test bed, with a delivery whose connections are rows
 * of a table.
 *
 * What a connection does with its batch is each test's own: rig_delivery() makes a delivery of
 * it for rig_up().  All of it on the test's one thread.
 */
#ifndef THROTTLE_RIG_H
#define THROTTLE_RIG_H

#include <greenarrow/ga_module.h>
#include <greenarrow/service/delivery.h>
#include <greenarrow/service/route.h>

#define CONNS_MAX 256

struct conn {
	struct ga_group *group;		/* NULL: not open */
	struct ga_batch batch;		/* n 0: saved */
	bool refused;
	uint64_t due_us;		/* when it is answered */
};

extern const struct ga_module throttle_LTX_ga_module;

extern const struct ga_throttle *thr;
extern struct conn conns[CONNS_MAX];

/* No connection is open, and the bed is up with this delivery: of static storage. */
void rig_up(const char *conf, unsigned workers, const struct ga_module *const *modules,
    const struct ga_delivery *);

/* A row of its own; asserts that there is one. */
struct conn *rig_open(struct ga_group *, struct ga_batch);
/* Each ticket ends with the result that the test has given it. */
void rig_end_batch(struct conn *);
void rig_close(struct conn *);
unsigned rig_open_now(void);

/* As close_idle of struct ga_delivery. */
bool rig_close_idle(struct ga_group *, struct ga_worker *);

/* A delivery that saves connections: run puts a batch on one that was saved, or opened by
 * open_.  One at a time; the rig's. */
const struct ga_delivery *rig_delivery(void (*open_)(struct ga_group *, struct ga_worker *, struct ga_batch),
    void (*run)(struct conn *, struct ga_batch));

/* To d.example, with the general settings. */
struct ga_route *rig_route(const char *key);
/* The caller's; what done gets is freed by rig_free_ticket(). */
struct ga_ticket *rig_ticket(struct ga_worker *home, struct ga_route *, uint64_t seq,
    void (*done)(struct ga_worker *, struct ga_ticket *));
void rig_free_ticket(struct ga_worker *, struct ga_ticket *);

/* Groups of all loops. */
unsigned rig_groups(void);

#endif
