;; Whether bytes are all of the base64 alphabet (RFC 4648 section 4), sixteen at a time. The bytes are put at the start of
;; the memory; up to fifteen behind them are looked at, too.
(module
  (memory (export "memory") 2)
  (func (export "isAlphabet") (param $length i32) (result i32)
    (local $at i32)
    (local $bytes v128)
    (local $good v128)
    (local.set $good (i8x16.splat (i32.const 0xff)))
    (loop $more
      (local.set $bytes (v128.load (local.get $at)))
      (local.set $good
        (v128.and (local.get $good)
          (v128.or
            (v128.or
              ;; A letter, which is a small one when bit 0x20 is set,
              (i8x16.lt_u
                (i8x16.sub (v128.or (local.get $bytes) (i8x16.splat (i32.const 0x20))) (i8x16.splat (i32.const 0x61)))
                (i8x16.splat (i32.const 26)))
              ;; or one of the run from slash to nine,
              (i8x16.lt_u
                (i8x16.sub (local.get $bytes) (i8x16.splat (i32.const 0x2f)))
                (i8x16.splat (i32.const 11))))
            ;; or plus.
            (i8x16.eq (local.get $bytes) (i8x16.splat (i32.const 0x2b))))))
      (br_if $more
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 16))) (local.get $length))))
    (i8x16.all_true (local.get $good))))
