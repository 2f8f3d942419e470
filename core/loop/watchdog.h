/*
 * watchdog.h - starts the look at the workers from the main loop.
 */
#ifndef CORE_LOOP_WATCHDOG_H
#define CORE_LOOP_WATCHDOG_H

void gac_watchdog_start(void);

#endif
