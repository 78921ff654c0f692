#[test]
fn passes() {}
#[test]
fn fails() {
    assert_eq!(8, 9, "off by <one> & more");
}
#[test]
#[ignore = "no card reader"]
fn skipped() {}
#[test]
#[should_panic]
fn expected() {
    panic!()
}
mod nested {
    #[test]
    fn größe() {}
}
