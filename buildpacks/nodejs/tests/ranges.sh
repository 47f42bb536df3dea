# Which version a range means.

ranges() {
  begin ranges || return 0
  local versions='["18.20.8", "20.1.0", "20.19.2", "22.3.0", "22.4.1", "24.1.0",
    "24.2.0-rc.1", "26.1.0", "27.0.0"]'
  local range wanted got
  while IFS=: read -r range wanted; do
    got=$(docker run --rm -i --label senryu.kind=build --network none -v "$BUILDPACKS:/b:ro" \
      "$BUILD_IMAGE" node /b/nodejs/lib/semver.cjs "$range" <<<"$versions") || got=error
    if [ "$got" = "$wanted" ]; then ok; else bad "$range: $got, not $wanted"; fi
  done <<'END'
22.x:22.4.1
>=20 <24:22.4.1
^22.3:22.4.1
~22.3.0:22.3.0
22.3.0 - 22.9:22.4.1
^18 || ^20:20.19.2
>= 20:27.0.0
>24 <27:26.1.0
<=24:24.1.0
*:27.0.0
=v22.3.0:22.3.0
24.2.0-rc.1:24.2.0-rc.1
lts/*:26.1.0
19.x:
twenty:error
END
}
ranges
