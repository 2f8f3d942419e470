/*
 * tally.c - a small module of somebody else: marks each message with a header
 * field, and counts what became of it by outcome.
 *
 * Of level stable, so it goes on working with later releases of the same major
 * version.  It is compiled outside the tree with what is installed and nothing
 * else: see Makefile.  In greenarrow.conf:
 *
 *	load_module /usr/local/lib/tally.so
 *	general {
 *	  tally_header X-Tally
 *	}
 *	ip_address * {
 *	  domain quiet.example {
 *	    use_module tally no
 *	  }
 *	}
 *
 * The counters are shown by `greenarrow status --json`; every tally_report attempts
 * and at its end the module logs them, too.
 */
#include <greenarrow/greenarrow.h>

#include <inttypes.h>
#include <stdatomic.h>

#define TALLY_DIRECTIVES(X)								\
	X(string, tally_header, "X-Tally", "", "general,smtp_service",			\
	    "Name of the header field that each message gets")				\
	X(int, tally_report, "1000", "min=1", "general,ip_address,domain",		\
	    "Log the counters after so many attempts")

GA_CONF_STRUCT(tally_conf, TALLY_DIRECTIVES);
#define GA_CF_SELF_ struct tally_conf
GA_CONF_SCHEMA(tally_conf, TALLY_DIRECTIVES);

static const struct ga_stat stats[] = {
	[GA_DELIVERED] = { GA_STAT_COUNTER, "delivered_total", "Attempts that delivered" },
	[GA_DEFERRED] = { GA_STAT_COUNTER, "deferred_total", "Attempts that are to be repeated" },
	[GA_FAILED] = { GA_STAT_COUNTER, "failed_total", "Attempts that failed for good" },
};
#define NSTATS (sizeof stats / sizeof stats[0])

/* Attempts end on several loops at once. */
struct tally {
	atomic_uint_fast64_t by_outcome[NSTATS];
};

static struct tally *
tally_of(struct ga_inst *inst)
{
	return (struct tally *)ga_inst_state(inst);
}

static void
report(struct ga_inst *inst)
{
	struct tally *t = tally_of(inst);

	ga_log(inst, GA_INFO, "TALLY-0001", "delivered %" PRIuFAST64 ", deferred %" PRIuFAST64
	    ", failed %" PRIuFAST64, atomic_load(&t->by_outcome[GA_DELIVERED]),
	    atomic_load(&t->by_outcome[GA_DEFERRED]), atomic_load(&t->by_outcome[GA_FAILED]));
}

/* The whole message is there: the field goes on top, with how many get it. */
static enum ga_verdict
on_eom(struct ga_call *call, const struct ga_ev_eom *ev)
{
	const struct tally_conf *conf = (const struct tally_conf *)ga_call_conf(call);
	struct ga_pool *pool = ga_call_pool(call, GA_LIFE_CALL);

	if (!ga_header_add(call, conf->tally_header, ga_fmt(pool, "recipients=%u", ev->nrcpt), 0))
		ga_call_log(call, GA_WARN, "TALLY-0002", "the message cannot have the field %.*s",
		    (int)conf->tally_header.n, conf->tally_header.p);
	return GA_PASS;
}

static void
on_attempt_done(struct ga_call *call, const struct ga_ev_attempt *ev)
{
	const struct tally_conf *conf = (const struct tally_conf *)ga_call_conf(call);
	struct ga_inst *inst = ga_call_inst(call);
	struct tally *t = tally_of(inst);
	uint64_t all = 1;

	for (size_t i = 0; i < NSTATS; i++)
		all += atomic_load(&t->by_outcome[i]);
	atomic_fetch_add(&t->by_outcome[ev->outcome], 1);
	ga_stat_add(inst, ev->outcome, 1);
	if (all % (uint64_t)conf->tally_report == 0)
		report(inst);
}

static void
fini(struct ga_inst *inst)
{
	report(inst);
}

#define TALLY_HOOKS(X) X(eom, on_eom) X(attempt_done, on_attempt_done)

GA_MODULE(tally, "1.0.0", "smtp_service ip_address relay_server domain", TALLY_HOOKS, TALLY_DIRECTIVES,
	.summary = "Marks messages and counts what becomes of them",
	.conf = &tally_conf_schema,
	.stats = stats,
	.nstats = NSTATS,
	.inst_size = sizeof(struct tally),
	.fini = fini);
