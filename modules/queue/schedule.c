/*
 * schedule.c - when the next attempt is due, and how long a message lives.
 *
 * Attempt n is due ((n-1)*20)^2 seconds after acceptance (0, 400, 1600, 3600 ...)
 * give or take 5 %, unless retry_schedule says otherwise.
 *
 * Ages are counted on a clock of our own: the wall clock at start plus monotonic
 * time, drawn to the wall clock by at most 1 %.  A step of the system's clock
 * neither expires the queue nor stops it.
 */
#include "queue.h"

#define SLEW_LOOK_MS 10000
#define WAIT_MIN_MS 1000	/* `retry_schedule 0s` is no busy loop */

void
q_wall_init(struct q_loop *l)
{
	l->wall_looked_ms = ga_mono_us() / 1000;
	l->wall_offset_ms = ga_wall_ms() - l->wall_looked_ms;
}

uint64_t
q_wall_ms(struct q_loop *l)
{
	uint64_t now = ga_now_ms(l->worker);
	int64_t behind;

	if (now - l->wall_looked_ms >= SLEW_LOOK_MS) {
		int64_t most = (int64_t)(now - l->wall_looked_ms) / 100;

		behind = (int64_t)(ga_wall_ms() - (now + l->wall_offset_ms));
		if (behind > most)
			behind = most;
		if (behind < -most)
			behind = -most;
		l->wall_offset_ms += (uint64_t)behind;
		l->wall_looked_ms = now;
	}
	return now + l->wall_offset_ms;
}

uint64_t
q_curve_ms(unsigned attempts)
{
	uint64_t s = (uint64_t)attempts * 20;

	return s * s * 1000;
}

/* 95 .. 105 % */
static uint64_t
jitter(uint64_t ms)
{
	return ms - ms / 20 + (ms / 10) * (ga_random32() & 0xffff) / 0xffff;
}

static const struct queue_conf *
conf_of(const struct ga_settings *settings)
{
	return ga_settings_conf(settings, "queue");
}

uint64_t
q_next_wait_ms(struct q_loop *l, const struct ga_settings *settings, unsigned attempts,
    uint64_t accepted_ms)
{
	const struct queue_conf *c = conf_of(settings);
	uint64_t now = q_wall_ms(l), due;

	if (attempts == 0)
		return 0;
	if (c->retry_schedule.n > 0) {
		size_t i = attempts - 1;
		uint64_t wait = 0;

		if (i >= c->retry_schedule.n)
			i = c->retry_schedule.n - 1;
		ga_conf_duration(c->retry_schedule.v[i], &wait);
		return wait > WAIT_MIN_MS ? wait : WAIT_MIN_MS;
	}
	due = accepted_ms + jitter(q_curve_ms(attempts));
	if (due > now + 1000)
		return due - now;
	/* it waited long for something else: the curve's own distance from now */
	return jitter(q_curve_ms(attempts) - q_curve_ms(attempts - 1));
}

uint64_t
q_lifetime_ms(const struct ga_settings *settings)
{
	return conf_of(settings)->queue_lifetime;
}
