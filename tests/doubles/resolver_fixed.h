/*
 * resolver_fixed.h - what a test may look at in the resolver with fixed answers.
 */
#ifndef TESTS_DOUBLES_RESOLVER_FIXED_H
#define TESTS_DOUBLES_RESOLVER_FIXED_H

/* Questions asked since the program began. */
unsigned resolver_fixed_asked(void);

#endif
