# The steps of critical sections at which a test may stop or kill this process. Decides nothing while none is armed, and costs a
# branch then.


cdef extern from *:
    """
    #include <signal.h>
    #include <unistd.h>

    /* For tests: send oneself a signal at one of the marked steps of a critical section, the n-th time it is reached. */
    static int cdn_armed = 0, cdn_armed_signal = 0, cdn_armed_after = 0;
    static void cdn_reached(int step) {
        if (cdn_armed == step && --cdn_armed_after == 0) {
            cdn_armed = 0;
            kill(getpid(), cdn_armed_signal);
        }
    }
    #define cdn_step(n) do { if (__builtin_expect(cdn_armed != 0, 0)) cdn_reached(n); } while (0)
    static inline void cdn_arm(int step, int sig, int after) {
        cdn_armed_signal = sig; cdn_armed_after = after; cdn_armed = step;
    }
    """
    void cdn_step(int n) noexcept nogil
    void cdn_arm(int step, int sig, int after) noexcept nogil


cdef enum Step:             # of critical sections, where a test may stop or kill the process
    STEP_COPIED = 1
    STEP_MOVED
    STEP_COMPACTED
    STEP_SLOT_MADE
    STEP_POINTED
    STEP_EVICTING
    STEP_RETIRED
    STEP_CARVED
    STEP_GIVEN
    STEP_BLOCK_TAKEN
    STEP_BLOCK_GIVEN
    STEP_LOCKED
    STEP_FILL_BEGUN
    STEP_FILL_STARTED
    STEP_FILL_GROWN
    STEP_SETTLED
    STEP_FILL_FREED
    STEP_PINNED
    STEP_SEGMENT_TAKEN
    STEP_SPLIT
    STEP_EXTENDED
    STEP_LISTED
    STEP_TABLE_TAKEN
    STEP_RING_TURNED
    STEP_GHOSTS_SPLIT
    STEP_VOIDED
    STEP_BOUNCED
    STEPS = STEP_BOUNCED
